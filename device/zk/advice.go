package zk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// unreachable adds to a dialling error what to look at; nil stays nil. It is
// told once this way: the error goes whole to the log and to the status page.
func unreachable(err error) error {
	advice := ""
	dns, noName := errors.AsType[*net.DNSError](err)
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case noName && dns.IsNotFound:
		advice = "is the name right? The address stands on the terminal's menu under Comm. > Ethernet"
	case errors.Is(err, syscall.ECONNREFUSED):
		advice = "is it the terminal's address and port, 4370 as a rule? Some refuse while another program holds their only session"
	case timedOut(err), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		advice = "is the terminal on and its cable in, is the address right, and does no firewall stand between?"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, advice)
}

func timedOut(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout() || errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}

// hungUp reports whether the far end closed the connection.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
