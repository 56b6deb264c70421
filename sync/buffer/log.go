package buffer

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
)

// badgerLog hands what Badger says to a logger. Its information is detail here.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) say(level slog.Level, format string, args []any) {
	if l.log.Enabled(context.Background(), level) {
		l.log.Log(context.Background(), level, "badger: "+strings.TrimSpace(fmt.Sprintf(format, args...)))
	}
}

// Errorf implements badger.Logger.
func (l badgerLog) Errorf(format string, args ...any) { l.say(slog.LevelError, format, args) }

// Warningf implements badger.Logger.
func (l badgerLog) Warningf(format string, args ...any) { l.say(slog.LevelWarn, format, args) }

// Infof implements badger.Logger.
func (l badgerLog) Infof(format string, args ...any) { l.say(slog.LevelDebug, format, args) }

// Debugf implements badger.Logger.
func (l badgerLog) Debugf(format string, args ...any) { l.say(slog.LevelDebug-4, format, args) }
