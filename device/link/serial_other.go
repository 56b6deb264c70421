//go:build !unix

package link

import (
	"context"
	"fmt"
	"runtime"
)

// Dial fails: this system's serial ports have no locks and deadlines like the
// ones relied on here.
func (d serialDialer) Dial(context.Context) (Conn, error) {
	return nil, Hopeless(fmt.Errorf("link: serial port %s: not supported on %s", d.path, runtime.GOOS))
}
