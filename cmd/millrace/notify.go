package main

import (
	"context"
	"errors"
	"net"
	"os"
	"strings"
)

// notify tells systemd how a daemon of its is doing: READY=1, STOPPING=1, STATUS=text. Where systemd did not start this process, nothing happens.
func notify(ctx context.Context, lines ...string) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unixgram", socket)
	if err != nil {
		return err
	}
	_, err = conn.Write([]byte(strings.Join(lines, "\n")))
	return errors.Join(err, conn.Close())
}
