package zk

import (
	"context"
	"fmt"
	"slices"

	wire "github.com/punchd/punchd/protocol/zk"
)

const (
	// maxWhole is the longest dataset that comes in the answer to DATA_WRRQ.
	maxWhole = 1024
	// onePiece is the part-size of terminals that give a chunk in one piece.
	onePiece = 0x10000
	// classicPiece is what the classic reads come in: hosts that use them take
	// no more at once.
	classicPiece = 1024
)

// dataset is a table as hosts read it, with its length before it.
func (t *Terminal) dataset(of wire.Command) ([]byte, error) {
	var records []byte
	switch of {
	case wire.CmdAttLogRead:
		t.mu.Lock()
		held := t.ledger.held()
		t.mu.Unlock()
		var err error
		if records, err = t.records(held); err != nil {
			return nil, err
		}
	case wire.CmdUserTempRead:
		t.mu.Lock()
		records = t.people.records()
		t.mu.Unlock()
	case wire.CmdOpLogRead, wire.CmdDBRead: // it keeps no operations and no templates
	default:
		return nil, fmt.Errorf("there is no table behind %v", of)
	}
	return wire.AppendDataset(make([]byte, 0, 4+len(records)), records), nil
}

// bulkRead is DATA_WRRQ. Which table is meant shows in the command, but for
// users: there the number must be theirs, or one template is asked for.
func (c *conn) bulkRead(ctx context.Context, p wire.Packet, r wire.BulkRead) error {
	if code := c.t.cfg.Quirks.Bulk; code != 0 {
		return c.reply(ctx, p, code, nil)
	}
	if r.Of == wire.CmdUserTempRead && r.FCT != wire.BulkUsers().FCT {
		return c.reply(ctx, p, wire.AckError, nil)
	}
	data, err := c.t.dataset(r.Of)
	if err != nil {
		return c.ack(ctx, p, nil, err)
	}
	c.line.beginBulk()
	if len(data) <= maxWhole {
		return c.line.bulkFrame(ctx, c.packet(p, wire.CmdData, data))
	}
	c.dataset = data
	size := uint32(len(data))
	return c.line.bulkFrame(ctx, c.packet(p, wire.AckOK, wire.AppendReady(nil, size, 0)))
}

// chunk is DATA_RDY. Of a part that is not all there it gives what is.
func (c *conn) chunk(ctx context.Context, p wire.Packet, r wire.Chunk) error {
	size := uint64(len(c.dataset))
	if uint64(r.Offset) >= size || r.Size == 0 || r.Size > wire.MaxChunk {
		return c.reply(ctx, p, wire.AckError, nil)
	}
	data := c.dataset[r.Offset:min(uint64(r.Offset)+uint64(r.Size), size)]
	switch piece := c.t.cfg.Quirks.Piece; piece {
	case PieceWhole:
		return c.line.bulkFrame(ctx, c.packet(p, wire.CmdData, data))
	case 0:
		return c.stream(ctx, p, data, onePiece)
	default:
		return c.stream(ctx, p, data, piece)
	}
}

// classic answers the older reads.
func (c *conn) classic(ctx context.Context, p wire.Packet, of wire.Command) error {
	data, err := c.t.dataset(of)
	if err != nil {
		return c.ack(ctx, p, nil, err)
	}
	c.line.beginBulk()
	piece := c.t.cfg.Quirks.Piece
	if piece <= 0 {
		piece = classicPiece
	}
	return c.stream(ctx, p, data, piece)
}

// stream gives data out in pieces: PREPARE_DATA, the DATA, ACK_OK. Events may
// come between.
func (c *conn) stream(ctx context.Context, p wire.Packet, data []byte, piece int) error {
	if err := c.line.bulkFrame(ctx, c.packet(p, wire.CmdPrepareData, wire.AppendPrepare(nil, uint32(len(data)), uint32(piece)))); err != nil {
		return err
	}
	part := uint16(0)
	for d := range slices.Chunk(data, piece) {
		if err := c.tellWaiting(ctx); err != nil {
			return err
		}
		packet := c.packet(p, wire.CmdData, d)
		if c.t.cfg.Quirks.Piece > 0 {
			packet.Session = part // K20
		}
		part++
		if err := c.line.bulkFrame(ctx, packet); err != nil {
			return err
		}
	}
	end := c.packet(p, wire.AckOK, nil)
	switch c.t.cfg.Quirks.Trailing {
	case "missing":
		return nil
	case "glued":
		c.line.glue(end)
		return nil
	}
	return c.line.bulkEnd(ctx, end)
}

// packet is a part of the answer to p.
func (c *conn) packet(p wire.Packet, code wire.Command, data []byte) wire.Packet {
	return wire.Packet{Command: code, Session: c.id(), Reply: p.Reply, Data: data}
}
