package cloudevents

import (
	"io"
	"net/http"
	"testing"
)

// An empty body is an answer only if something says that it is whole: a
// service that dies behind the header leaves the same.
func TestEmptyAnswers(t *testing.T) {
	for answer, want := range map[string]string{
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n":                                      "unclear",
		"HTTP/1.0 200 OK\r\n\r\n":                                                           "unclear",
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n \r\n":                                 "unclear",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Encoding: gzip\r\n\r\n":            "unclear",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n":                             "later",
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n":                                      "later",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n":                    "none",
		"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":                                      "none",
		"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n":                              "none",
		"HTTP/1.1 205 Reset Content\r\nConnection: close\r\n\r\n":                           "none",
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}":                                    "none",
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"results\":[":                        "misconfigured",
		"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"results\":[]}":                      "none",
		"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 20\r\n\r\n{\"results\":[]": "later",
	} {
		service, srv := newService(t)
		service.answer = func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_, err = io.WriteString(conn, answer)
			}
			if err != nil {
				t.Error(err)
			}
			conn.Close()
		}
		if r, err := newSink(t, srv.URL).Send(t.Context(), items(0, 2)); kindOf(err) != want || err == nil && len(r) != 2 {
			t.Errorf("%q: %v, %v; want %s", answer, r, err, want)
		}
	}
}
