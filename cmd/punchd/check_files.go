package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/punchd/punchd/cmd/internal/config"
	"github.com/punchd/punchd/cmd/internal/gateway"
	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/sync/roster/strict"
)

// checkOutputs sees whether the files of sinks could be written, and are not
// something else already. That is not asked of a configuration itself: a daemon
// keeps punches for a file that can't be written yet, such as one on a drive
// that is not there.
func checkOutputs(cfg *config.Config) strict.Problems {
	var found strict.Problems
	for i, s := range cfg.Sinks {
		if s.JSONLines == nil {
			continue
		}
		key, path := fmt.Sprintf("sinks[%d].path", i), s.JSONLines.Path
		dir := filepath.Dir(path)
		if info, err := os.Stat(path); err == nil && info.IsDir() {
			found = append(found, cfg.Problem(key, "%s is a directory; name a file in it", path))
		} else if info, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
			found = append(found, cfg.Problem(key, "there is no directory %s; make it first", dir))
		} else if err != nil {
			found = append(found, cfg.Problem(key, "%v", err))
		} else if !info.IsDir() {
			found = append(found, cfg.Problem(key, "%s is no directory", dir))
		} else if what := usedBy(cfg, i, path); what != "" {
			found = append(found, cfg.Problem(key, "%s is %s; name another file", path, what))
		}
	}
	return found
}

// usedBy says what else the file of a sink is, empty if nothing.
func usedBy(cfg *config.Config, sink int, path string) string {
	for i, s := range cfg.Sinks[:sink] {
		if s.JSONLines != nil && oneFile(s.JSONLines.Path, path) {
			return fmt.Sprintf("the file of sinks[%d] already", i)
		}
	}
	for _, in := range cfg.Inputs() {
		switch {
		case !oneFile(in.Path, path):
		case in.Key == "":
			return "the configuration itself"
		default:
			return "the file of " + in.Key + ", and punches would be written into it"
		}
	}
	if inside(cfg.Gateway.DataDir, path) {
		return fmt.Sprintf("in %s, which the gateway keeps for itself (gateway.data_dir)", cfg.Gateway.DataDir)
	}
	return ""
}

// oneFile reports whether two paths lead to one file, which need not be there.
func oneFile(a, b string) bool {
	if realPath(a) == realPath(b) {
		return true
	}
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

// inside reports whether a path lies in a directory.
func inside(dir, path string) bool {
	if dir == "" {
		return false
	}
	rel, err := filepath.Rel(realPath(dir), realPath(path))
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}

// realPath is a path without links and from the root, as far as it exists.
func realPath(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if p, err := filepath.EvalSymlinks(path); err == nil {
		return p
	}
	if dir := filepath.Dir(path); dir != path {
		return filepath.Join(realPath(dir), filepath.Base(path))
	}
	return path
}

// maxUnused is how many users of the broker are warned of one by one.
const maxUnused = 10

// unusedUsers warns of users of the gateway's own broker who are nobody's phone.
func unusedUsers(cfg *config.Config, r *attendance.Roster) strict.Problems {
	const key = "phones.broker.embedded.users"
	users := gateway.UnusedUsers(cfg, r)
	slices.Sort(users)
	var list strict.Problems
	for i, user := range users {
		if i == maxUnused {
			list = append(list, cfg.Problem(key, "and %d more who are no employee's phone", len(users)-i))
			break
		}
		list = append(list, cfg.Problem(key+"."+user, "%q is no employee's phone in the roster (id or owntracks_user): what it sends counts for nobody", user))
	}
	return list
}
