package zk

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// Charset is how a terminal writes names. Newer ones write UTF-8, older ones
// that of their menu's language, and none says which. The zero value knows
// UTF-8 alone.
type Charset struct{ enc encoding.Encoding }

var charsets = map[string]encoding.Encoding{
	"utf-8": nil,
	"gbk":   simplifiedchinese.GBK, "gb18030": simplifiedchinese.GB18030, "big5": traditionalchinese.Big5,
	"euc-kr": korean.EUCKR, "shift_jis": japanese.ShiftJIS, "windows-874": charmap.Windows874,
	"windows-1250": charmap.Windows1250, "windows-1251": charmap.Windows1251, "windows-1252": charmap.Windows1252,
	"windows-1253": charmap.Windows1253, "windows-1254": charmap.Windows1254, "windows-1255": charmap.Windows1255,
	"windows-1256": charmap.Windows1256, "windows-1257": charmap.Windows1257, "windows-1258": charmap.Windows1258,
}

// ParseCharset finds a charset by its name in lower case: utf-8, gbk,
// windows-1256 and so on.
func ParseCharset(name string) (Charset, error) {
	enc, ok := charsets[strings.ToLower(name)]
	if !ok {
		known := make([]string, 0, len(charsets))
		for name := range charsets {
			known = append(known, name)
		}
		slices.Sort(known)
		return Charset{}, fmt.Errorf("zk: %.64q is no charset of a terminal (known: %s)", name, strings.Join(known, ", "))
	}
	return Charset{enc}, nil
}

// Text reads a name as a terminal holds it: as UTF-8 if it is valid UTF-8,
// otherwise in the charset. What can't be read becomes U+FFFD. Names are for
// people's eyes; nothing is decided by them.
func (c Charset) Text(raw string) string {
	if c.enc != nil && !utf8.ValidString(raw) {
		// A decoder replaces what it can't read, so its error says nothing more.
		if text, err := c.enc.NewDecoder().String(raw); err == nil {
			return text
		}
	}
	return strings.ToValidUTF8(raw, "\uFFFD")
}

// Raw writes a name in at most room bytes, cut behind a whole character. What
// the charset lacks becomes '?', and so does a control character.
func (c Charset) Raw(text string, room int) string {
	var raw []byte
	for _, r := range text {
		char := "?"
		if r >= ' ' && r != 0x7f && r != utf8.RuneError {
			char = string(r)
			if c.enc != nil {
				var err error
				if char, err = c.enc.NewEncoder().String(char); err != nil {
					char = "?"
				}
			}
		}
		if len(raw)+len(char) > room {
			break
		}
		raw = append(raw, char...)
	}
	return string(raw)
}
