package cardline

import (
	"context"
	"time"

	"github.com/punchd/punchd/protocol/attendance"
)

const (
	// queueSize bounds the punches that wait in memory while Emit refuses: at
	// a busy gate, more than an hour of them.
	queueSize = 1024
	maxBatch  = 64 // punches handed over at once
	// retryEvery is the pause after a refusal. It does not grow: what refuses
	// is the gateway's own disk, and each second more in memory is a risk.
	retryEvery = time.Second
	// lastChance bounds the attempt to hand over what is left at the end.
	lastChance = 5 * time.Second
	// lossLogEvery is how often a loss is told in the log while it goes on.
	lossLogEvery = time.Minute
)

// accept queues a punch without ever waiting: a reader that is not read loses
// what it says.
func (d *Driver) accept(p attendance.Punch) {
	d.mu.Lock()
	defer d.mu.Unlock()
	select {
	case d.queue <- p:
		d.count.waiting++
		return
	default:
	}
	d.count.lost++
	if now := time.Now(); d.count.lossTold.IsZero() || now.Sub(d.count.lossTold) >= lossLogEvery {
		d.count.lossTold = now
		d.log.Error("punches lost: they could not be made durable and the queue is full", "lost", d.count.lost, "queue", queueSize, "error", d.emitErr)
	}
}

// deliver hands punches over in their order until ctx ends, and returns those
// it had taken and could not hand over.
func (d *Driver) deliver(ctx context.Context) []attendance.Punch {
	for {
		var batch []attendance.Punch
		select {
		case <-ctx.Done():
			return nil
		case p := <-d.queue:
			batch = d.more(append(batch, p))
		}
		for d.emit(ctx, batch) != nil {
			select {
			case <-ctx.Done():
				return batch
			case <-time.After(retryEvery):
			}
		}
	}
}

// more adds to a batch what waits already.
func (d *Driver) more(batch []attendance.Punch) []attendance.Punch {
	for len(batch) < maxBatch {
		select {
		case p := <-d.queue:
			batch = append(batch, p)
		default:
			return batch
		}
	}
	return batch
}

// emit hands a batch over and keeps the account of it.
func (d *Driver) emit(ctx context.Context, batch []attendance.Punch) error {
	err := d.cfg.Emit(ctx, batch)
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.state.Emitted += uint64(len(batch))
		d.count.waiting -= len(batch)
		if d.emitErr != nil {
			d.log.Info("punches are made durable again", "waiting", d.count.waiting)
		}
	} else if d.emitErr == nil && ctx.Err() == nil {
		d.log.Warn("punches wait in memory: they could not be made durable", "waiting", d.count.waiting, "error", err)
	}
	d.emitErr = err
	return err
}

// finish hands over what is left when reading has ended: batch, then the queue.
// What is refused now is lost with the process, and told.
func (d *Driver) finish(ctx context.Context, batch []attendance.Punch) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastChance)
	defer cancel()
	for {
		if len(batch) == 0 {
			if batch = d.more(nil); len(batch) == 0 {
				return
			}
		}
		if err := d.emit(ctx, batch); err != nil {
			d.mu.Lock()
			lost := d.count.waiting
			d.count.lost, d.count.waiting = d.count.lost+uint64(lost), 0
			d.mu.Unlock()
			for len(d.queue) > 0 {
				<-d.queue
			}
			d.log.Error("punches lost: they could not be made durable before the end", "lost", lost, "error", err)
			return
		}
		batch = nil
	}
}
