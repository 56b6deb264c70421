package main

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/punchd/punchd/protocol/attendance"
)

// sized is how many rows are looked at for the widths of the columns.
const sized = 500

// columns prints a table of punches as they come. It looks at the first ones
// for the widths; a later text that is wider moves the rest of its row.
type columns struct {
	buf    *bufio.Writer
	zone   *time.Location
	rows   [][]string // held back until the widths are known
	widths []int
}

var (
	listHeader = []string{"SEQ", "TIME", "EMPLOYEE", "DIRECTION", "METHOD", "DEVICE", "PLACE", "VERDICT", "REASONS"}
	// listLeast is what texts of a later row may need, where they are ours.
	listLeast = []int{8, len(tableTime), 0, len("break-out"), len("fingerprint"), 0, 0, len("unverified"), 0}
)

func newColumns(w io.Writer, zone *time.Location) *columns {
	return &columns{buf: bufio.NewWriter(w), zone: zone}
}

func (c *columns) begin() error { return nil }

func (c *columns) punch(seq uint64, p *attendance.Punch) error {
	row := []string{strconv.FormatUint(seq, 10), p.At.In(c.zone).Format(tableTime), printable(who(p)), p.Direction.String(), p.Method.String(),
		printable(p.Device.ID), printable(p.Place), p.Verdict.String(), printable(reasons(p))}
	if c.widths != nil {
		return c.line(row)
	}
	if c.rows = append(c.rows, row); len(c.rows) < sized {
		return nil
	}
	return c.size(listLeast)
}

// end prints what is held back. A table without rows has no header either.
func (c *columns) end() error {
	if c.widths == nil && len(c.rows) > 0 {
		if err := c.size(make([]int, len(listHeader))); err != nil {
			return err
		}
	}
	return c.buf.Flush()
}

// size fixes the widths and prints what was held back.
func (c *columns) size(least []int) error {
	c.widths = append([]int{}, least...)
	for _, row := range append([][]string{listHeader}, c.rows...) {
		for i, cell := range row {
			c.widths[i] = max(c.widths[i], text.StringWidthWithoutEscSequences(cell))
		}
	}
	if err := c.line(listHeader); err != nil {
		return err
	}
	for _, row := range c.rows {
		if err := c.line(row); err != nil {
			return err
		}
	}
	c.rows = nil
	return nil
}

// line prints a row: the number at the right of its column, texts at the left.
func (c *columns) line(row []string) error {
	var b strings.Builder
	for i, cell := range row {
		pad := strings.Repeat(" ", max(0, c.widths[i]-text.StringWidthWithoutEscSequences(cell)))
		if i == 0 {
			cell, pad = pad+cell, ""
		}
		b.WriteString(" " + cell + pad + " ")
	}
	_, err := c.buf.WriteString(strings.TrimRight(b.String(), " ") + "\n") // a padded line wraps to an empty one
	return err
}
