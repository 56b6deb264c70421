package gateway

import (
	"context"
	"net"
	"os"
)

// withPeer notes who opened a connection to the control socket: by the
// kernel's word and not the peer's own. Where the kernel does not tell, it is
// the daemon's user, since nobody else but root may open the socket.
func withPeer(ctx context.Context, c net.Conn) context.Context {
	uid, err := peerUID(c)
	if err != nil {
		uid = os.Getuid()
	}
	return context.WithValue(ctx, peerName{}, userName(uid))
}
