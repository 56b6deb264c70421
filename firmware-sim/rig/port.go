package rig

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"github.com/punchd/punchd/firmware-sim/reader"
)

// port is the wire of a simulated reader: what is written to it the daemon
// reads at the link.
type port interface {
	io.WriteCloser
	SetWriteDeadline(time.Time) error
}

// openPort makes a pty, or where there is none a serial server on loopback.
func openPort() (p port, link string, err error) {
	tty, err := reader.OpenPTY()
	if err == nil {
		return tty, "serial://" + tty.Path + "?baud=9600", nil
	}
	if !errors.Is(err, errors.ErrUnsupported) {
		return nil, "", err
	}
	return openSerialServer()
}

func openSerialServer() (p port, link string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	s := &serialServer{l: l}
	s.accepting.Go(s.accept)
	return s, "tcp://" + l.Addr().String(), nil
}

// serialServer is a port over TCP for one host at a time. What is written while
// nobody is connected is lost, as on a wire.
type serialServer struct {
	l         net.Listener
	accepting sync.WaitGroup

	mu       sync.Mutex
	conn     net.Conn // nil: nobody is connected
	deadline time.Time
}

func (s *serialServer) accept() {
	for {
		conn, err := s.l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.drop()
		s.conn = conn
		s.mu.Unlock()
	}
}

// drop hangs up; a reader does not care how.
func (s *serialServer) drop() {
	if s.conn != nil {
		_ = s.conn.Close()
		s.conn = nil
	}
}

// Write implements [io.Writer].
func (s *serialServer) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		if s.conn.SetWriteDeadline(s.deadline) != nil {
			s.drop()
		} else if _, err := s.conn.Write(b); err != nil {
			s.drop()
		}
	}
	return len(b), nil
}

// SetWriteDeadline bounds the writes to come.
func (s *serialServer) SetWriteDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deadline = t
	return nil
}

// Close ends the port.
func (s *serialServer) Close() error {
	err := s.l.Close()
	s.accepting.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop()
	return err
}
