package strict

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder puts the events of one document into a Go value.
type decoder struct {
	doc      *Document
	src      source
	problems Problems
	taken    uintptr // bytes of the entries of all lists
}

// errEnough ends the reading of a file that is wrong all over: a JSON file has
// room for millions of mistakes.
var errEnough = errors.New("too many mistakes")

func (d *decoder) fail(e event, path, hint, format string, args ...any) {
	p := &Problem{File: d.doc.file, Line: e.line, Column: e.column, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint}
	d.problems = append(d.problems, p.cut())
}

func (d *decoder) document(v reflect.Value) error {
	e, err := d.src.next()
	if err != nil {
		return err
	}
	if e.kind == eof || e.kind == scalar && e.null {
		return &errSyntax{line: 1, column: 1, message: "the file is empty"}
	}
	if err := d.value(e, v, ""); err != nil {
		return err
	}
	_, err = d.src.next() // a JSON source says here if something follows
	return err
}

var (
	timeType     = reflect.TypeFor[time.Time]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
)

// value takes the value that begins with e. An error is one of the text
// itself and ends the reading; what does not fit v is a problem.
func (d *decoder) value(e event, v reflect.Value, path string) error {
	if e.kind == scalar && e.null {
		return nil // as if the key were absent
	}
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	single := v.Type() == timeType || reflect.PointerTo(v.Type()).Implements(textType)
	switch {
	case !single && v.Kind() == reflect.Struct:
		if e.kind != mapStart {
			return d.mismatch(e, path, "keys and values")
		}
		return d.structure(v, path)
	case !single && v.Kind() == reflect.Map:
		if e.kind != mapStart {
			return d.mismatch(e, path, "keys and values")
		}
		return d.table(v, path)
	case !single && v.Kind() == reflect.Slice:
		if e.kind != listStart {
			return d.mismatch(e, path, "a list")
		}
		return d.list(v, path)
	case e.kind != scalar:
		return d.mismatch(e, path, "a single value")
	}
	if err := setScalar(v, e); err != nil {
		d.fail(e, path, "", "%v", err)
	}
	return nil
}

func (d *decoder) mismatch(e event, path, want string) error {
	got := map[kind]string{mapStart: "keys and values", listStart: "a list", scalar: fmt.Sprintf("%.40q", e.text)}[e.kind]
	d.fail(e, path, "", "must be %s, not %s", want, got)
	return skip(d.src, e)
}

// skip reads past the value that begins with e.
func skip(src source, e event) error {
	for depth := 0; ; {
		switch e.kind {
		case mapStart, listStart:
			depth++
		case mapEnd, listEnd:
			depth--
		case eof:
			return nil
		}
		if depth == 0 {
			return nil
		}
		var err error
		if e, err = src.next(); err != nil {
			return err
		}
	}
}

func (d *decoder) structure(v reflect.Value, path string) error {
	fields := fieldsOf(v.Type())
	seen := map[string]event{}
	for {
		key, err := d.src.next()
		if err != nil || key.kind == mapEnd || key.kind == eof {
			return err
		}
		first, repeated := seen[key.text]
		seen[key.text] = key
		e, err := d.src.next()
		if err != nil {
			return err
		}
		i, known := fields[key.text]
		switch {
		case repeated:
			d.fail(key, join(path, key.text), "", "is given twice, first on line %d", first.line)
			err = skip(d.src, e)
		case !known:
			d.fail(key, join(path, key.text), nearestKey(key.text, fields), "unknown key %.40q", key.text)
			err = skip(d.src, e)
		default:
			err = d.value(e, v.Field(i), join(path, key.text))
		}
		if err != nil {
			return err
		}
		if len(d.problems) >= maxFound {
			return errEnough
		}
	}
}

func (d *decoder) table(v reflect.Value, path string) error {
	v.Set(reflect.MakeMap(v.Type()))
	for {
		key, err := d.src.next()
		if err != nil || key.kind == mapEnd || key.kind == eof {
			return err
		}
		e, err := d.src.next()
		if err != nil {
			return err
		}
		name := reflect.ValueOf(key.text).Convert(v.Type().Key())
		if v.MapIndex(name).IsValid() {
			d.fail(key, join(path, key.text), "", "is given twice")
		}
		item := reflect.New(v.Type().Elem()).Elem()
		if err := d.value(e, item, join(path, key.text)); err != nil {
			return err
		}
		v.SetMapIndex(name, item)
	}
}

func (d *decoder) list(v reflect.Value, path string) error {
	v.Set(reflect.MakeSlice(v.Type(), 0, 0))
	for i := 0; ; i++ {
		e, err := d.src.next()
		if err != nil || e.kind == listEnd || e.kind == eof {
			return err
		}
		if len(d.problems) >= maxFound {
			return errEnough
		}
		if d.taken += v.Type().Elem().Size(); d.taken > maxTaken {
			return &errSyntax{line: e.line, column: e.column, message: "more entries than are read of one file"}
		}
		v.Grow(1)
		v.SetLen(i + 1)
		v.Index(i).SetZero()
		at := path + "[" + strconv.Itoa(i) + "]"
		if e.kind == scalar && e.null {
			d.fail(e, at, "", "is an empty entry")
			continue
		}
		if err := d.value(e, v.Index(i), at); err != nil {
			return err
		}
	}
}

// setScalar puts one text into v. A text that must be a number or a truth
// value may not stand in quotes, so that a file means one thing.
func setScalar(v reflect.Value, e event) error {
	switch v.Type() {
	case timeType:
		t, err := time.Parse(time.RFC3339, e.text)
		if err != nil {
			return fmt.Errorf("%.40q is no time with its offset, like 2026-11-04T08:58:00+08:00", e.text)
		}
		v.Set(reflect.ValueOf(t))
		return nil
	case durationType:
		t, err := time.ParseDuration(e.text)
		if err != nil {
			return fmt.Errorf("%.40q is no duration like 30s, 5m or 1h30m", e.text)
		}
		v.SetInt(int64(t))
		return nil
	}
	if t, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		return t.UnmarshalText([]byte(e.text))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(e.text)
		return nil
	case reflect.Bool:
		if e.quoted || e.text != "true" && e.text != "false" {
			return fmt.Errorf("must be true or false, not %.40q", e.text)
		}
		v.SetBool(e.text == "true")
		return nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(e.text, 10, v.Type().Bits())
		if err != nil || e.quoted {
			return fmt.Errorf("must be a whole number, not %.40q", e.text)
		}
		v.SetInt(n)
		return nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(e.text, 10, v.Type().Bits())
		if err != nil || e.quoted {
			return fmt.Errorf("must be a whole number from 0 to %d, not %.40q", uint64(math.MaxUint64)>>(64-v.Type().Bits()), e.text)
		}
		v.SetUint(n)
		return nil
	case reflect.Float64:
		f, err := strconv.ParseFloat(e.text, 64)
		if err != nil || e.quoted || math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Errorf("must be a number, not %.40q", e.text)
		}
		v.SetFloat(f)
		return nil
	default:
		return fmt.Errorf("can't be set from a file (type %s)", v.Type())
	}
}

// fieldsOf maps the keys of a struct type to its field numbers.
func fieldsOf(t reflect.Type) map[string]int {
	fields := make(map[string]int, t.NumField())
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); name != "" && name != "-" {
			fields[name] = i
		}
	}
	return fields
}

func join(path, key string) string {
	key = cut(key, maxStep)
	if path == "" {
		return key
	}
	return path + "." + key
}

func nearestKey(key string, fields map[string]int) string {
	known := make([]string, 0, len(fields))
	for name := range fields {
		known = append(known, name)
	}
	slices.Sort(known)
	if near := Nearest(key, known); near != "" {
		return fmt.Sprintf("do you mean %.40q?", near)
	}
	return "known here: " + strings.Join(known, ", ")
}
