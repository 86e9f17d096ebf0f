package shuffle_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
	"os/exec"
	"testing"

	"github.com/millrace/millrace/shuffle"
)

const block = 64 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// BenchmarkNetpipe moves blocks from another process, by a netpipe and by a bare socket pair with a checksum at both ends.
func BenchmarkNetpipe(b *testing.B) {
	b.Run("unix", func(b *testing.B) {
		from(b, "netpipe", func(f *os.File) error {
			r, err := shuffle.NewUnixReader(f)
			if err != nil {
				return err
			}
			if err := r.Open(context.Background()); err != nil {
				return err
			}
			return errors.Join(readBlocks(r, b.N), r.Close())
		})
	})
	b.Run("unix-raw", func(b *testing.B) {
		from(b, "raw", func(f *os.File) error { return errors.Join(readSummed(f, b.N), f.Close()) })
	})
}

// readBlocks reads n blocks.
func readBlocks(r io.Reader, n int) error {
	buf := make([]byte, block)
	for range n {
		if _, err := io.ReadFull(r, buf); err != nil {
			return err
		}
	}
	if _, err := r.Read(buf); err != io.EOF {
		return errors.Join(errors.New("no end"), err)
	}
	return nil
}

// readSummed reads n blocks, each behind its checksum.
func readSummed(r io.Reader, n int) error {
	buf := make([]byte, 4+block)
	for range n {
		if _, err := io.ReadFull(r, buf); err != nil {
			return err
		}
		if crc32.Checksum(buf[4:], castagnoli) != binary.LittleEndian.Uint32(buf) {
			return errors.New("checksum mismatch")
		}
	}
	return nil
}

// from runs read on what another process writes in a manner.
func from(b *testing.B, manner string, read func(f *os.File) error) {
	wf, rf, err := shuffle.SocketPair()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "SHUFFLE_TEST_WRITER="+manner)
	cmd.ExtraFiles = []*os.File{wf}
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	wf.Close()
	b.SetBytes(block)
	b.ResetTimer()
	_ = binary.Write(in, binary.LittleEndian, int64(b.N)) // the other process begins
	err = read(rf)
	b.StopTimer()
	if err := errors.Join(err, in.Close(), cmd.Wait()); err != nil {
		b.Fatalf("%v\n%s", err, said.Bytes())
	}
}

// writeBlocks writes as many blocks as standard input says, to descriptor 3.
func writeBlocks(manner string) error {
	var n int64
	if err := binary.Read(os.Stdin, binary.LittleEndian, &n); err != nil {
		return err
	}
	f := os.NewFile(3, "socket")
	buf := bytes.Repeat([]byte("0123456789abcdef"), (16+block)/16)[:4+block]
	if manner == "raw" {
		for range n {
			binary.LittleEndian.PutUint32(buf, crc32.Checksum(buf[4:], castagnoli))
			if _, err := f.Write(buf); err != nil {
				return err
			}
		}
		return nil
	}
	w, err := shuffle.NewUnixWriter(f)
	if err == nil {
		err = w.Open(context.Background())
	}
	for range n {
		if err == nil {
			_, err = w.Write(buf[4:])
		}
	}
	return errors.Join(err, w.Close())
}
