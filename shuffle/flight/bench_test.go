package flight_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"

	arrow "github.com/apache/arrow/go/v17/arrow/flight/gen/flight"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/millrace/millrace/shuffle/flight"
)

const block = 64 << 10

// BenchmarkNetpipe moves blocks from one node to another, by a netpipe and by a bare DoPut with the same TLS.
func BenchmarkNetpipe(b *testing.B) {
	data := bytes.Repeat([]byte("0123456789abcdef"), block/16)
	b.Run("flight", func(b *testing.B) {
		w, r := made(b, node(b, flight.Options{}), node(b, flight.Options{}), 1)
		defer r.Close()
		opened := make(chan error, 1)
		go func() { opened <- w[0].Open(context.Background()) }()
		if err := errors.Join(r.Open(context.Background()), <-opened); err != nil {
			b.Fatal(err)
		}
		wrote := make(chan error, 1)
		b.SetBytes(block)
		b.ResetTimer()
		go func() {
			for range b.N {
				if _, err := w[0].Write(data); err != nil {
					wrote <- err
					return
				}
			}
			wrote <- w[0].Close()
		}()
		buf := make([]byte, block)
		for range b.N {
			if _, err := io.ReadFull(r, buf); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := r.Read(buf); err != io.EOF {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := <-wrote; err != nil {
			b.Fatal(err)
		}
	})
	b.Run("flight-raw", func(b *testing.B) {
		l := listen(b)
		s := grpc.NewServer(grpc.Creds(credentials.NewTLS(authority().tls())), grpc.InitialWindowSize(2<<20), grpc.InitialConnWindowSize(16<<20))
		bare := &bareServer{done: make(chan int, 1)}
		arrow.RegisterFlightServiceServer(s, bare)
		serving := make(chan error, 1)
		go func() { serving <- s.Serve(l) }()
		defer func() { s.Stop(); <-serving }()
		conn, err := grpc.NewClient("passthrough:///"+l.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(authority().tls())))
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		stream, err := arrow.NewFlightServiceClient(conn).DoPut(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(block)
		b.ResetTimer()
		for range b.N {
			if err := stream.Send(&arrow.FlightData{DataBody: data}); err != nil {
				b.Fatal(err)
			}
		}
		if err := stream.CloseSend(); err != nil {
			b.Fatal(err)
		}
		if got := <-bare.done; got != b.N*block {
			b.Fatalf("%d bytes came, want %d", got, b.N*block)
		}
	})
}

// A bareServer counts what is put.
type bareServer struct {
	arrow.UnimplementedFlightServiceServer
	done chan int
}

func (s *bareServer) DoPut(stream arrow.FlightService_DoPutServer) error {
	n := 0
	for {
		m, err := stream.Recv()
		if err != nil {
			s.done <- n
			return nil
		}
		n += len(m.DataBody)
	}
}
