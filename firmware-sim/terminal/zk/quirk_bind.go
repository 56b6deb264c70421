package zk

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	wire "github.com/punchd/punchd/protocol/zk"
)

func bindFlag(field *bool) binding {
	return binding{
		set: func(string) error { *field = true; return nil },
		get: func() string {
			if *field {
				return "set"
			}
			return ""
		},
	}
}

// bindChoice: the zero value is none of the words.
func bindChoice[T comparable](field *T, words map[string]T) binding {
	return binding{
		set: func(s string) error {
			v, ok := words[s]
			if !ok {
				return fmt.Errorf("%.32q is none of them", s)
			}
			*field = v
			return nil
		},
		get: func() string {
			var zero T
			if *field == zero {
				return ""
			}
			for word, v := range words {
				if v == *field {
					return word
				}
			}
			return fmt.Sprint(*field)
		},
	}
}

func bindWord(field *string, words ...string) binding {
	return binding{
		set: func(s string) error {
			if !slices.Contains(words, s) {
				return fmt.Errorf("%.32q is none of them", s)
			}
			*field = s
			return nil
		},
		get: func() string { return *field },
	}
}

func bindCharset(field *string) binding {
	return binding{
		set: func(s string) error {
			_, err := wire.ParseCharset(s)
			if err == nil {
				*field = s
			}
			return err
		},
		get: func() string { return *field },
	}
}

func bindNumber(field *int, least, most int) binding {
	return binding{
		set: func(s string) error {
			n, err := strconv.Atoi(s)
			if err != nil || n < least || n > most {
				return fmt.Errorf("%.32q is not from %d to %d", s, least, most)
			}
			*field = n
			return nil
		},
		get: func() string {
			if *field == 0 {
				return ""
			}
			return strconv.Itoa(*field)
		},
	}
}

// also lets a word stand for a number outside the bounds.
func (b binding) also(word string, field *int, n int) binding {
	set, get := b.set, b.get
	b.set = func(s string) error {
		if s == word {
			*field = n
			return nil
		}
		return set(s)
	}
	b.get = func() string {
		if *field == n {
			return word
		}
		return get()
	}
	return b
}

func bindSpan(field *time.Duration, least, most time.Duration) binding {
	return binding{
		set: func(s string) error {
			d, err := time.ParseDuration(s)
			if err == nil && (d < least || d > most) {
				err = fmt.Errorf("%v is not from %v to %v", d, least, most)
			}
			if err == nil {
				*field = d
			}
			return err
		},
		get: func() string {
			if *field == 0 {
				return ""
			}
			return field.String()
		},
	}
}

// bindGap writes [NoGap] as 0.
func bindGap(field *time.Duration) binding {
	b := bindSpan(field, 0, time.Minute)
	set, get := b.set, b.get
	b.set = func(s string) error {
		err := set(s)
		if err == nil && *field == 0 {
			*field = NoGap
		}
		return err
	}
	b.get = func() string {
		if *field == NoGap {
			return "0s"
		}
		return get()
	}
	return b
}

// bindKey reads a key, "close", or both.
func bindKey(key *uint32, hangUp *bool) binding {
	return binding{
		set: func(s string) error {
			number, ends := s, false
			if s == "close" {
				number, ends = "", true
			} else {
				number, ends = strings.CutSuffix(s, ",close")
			}
			if number != "" || !ends {
				n, err := strconv.ParseUint(number, 10, 32)
				if err != nil || n == 0 || n > maxKey {
					return errors.New("a key is a number from 1 to 99999999")
				}
				*key = uint32(n)
			}
			*hangUp = *hangUp || ends
			return nil
		},
		get: func() string {
			var parts []string
			if *key != 0 {
				parts = append(parts, strconv.FormatUint(uint64(*key), 10))
			}
			if *hangUp {
				parts = append(parts, "close")
			}
			return strings.Join(parts, ",")
		},
	}
}

func bindSilence(bytes *int, always *bool) binding {
	b := bindNumber(bytes, 1, 1<<30)
	set, get := b.set, b.get
	b.set = func(s string) error {
		s, more := strings.CutSuffix(s, ",always")
		err := set(s)
		if err == nil {
			*always = more
		}
		return err
	}
	b.get = func() string {
		s := get()
		if s != "" && *always {
			s += ",always"
		}
		return s
	}
	return b
}
