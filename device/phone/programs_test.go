package phone

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"

	"github.com/punchd/punchd/protocol/attendance"
	"github.com/punchd/punchd/protocol/phone"
)

// program finds an installed program, or says that the test can't run here.
func program(t testing.TB, name string) string {
	t.Helper()
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if p, err := exec.LookPath(path); err == nil {
			return p
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed", name)
	}
	t.Skipf("%s is not installed (Debian: mosquitto, mosquitto-clients)", name)
	return ""
}

// run runs a program to its end and returns what it printed.
func run(t testing.TB, stdin []byte, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program(t, name), args...)
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// mosquittoArgs are the arguments by which its clients reach an address.
func mosquittoArgs(t testing.TB, address, user string, more ...string) []string {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return append([]string{"-h", host, "-p", port, "-u", user, "-P", "pw-" + user}, more...)
}

// TestMosquittoClients holds the broker against the clients that half the world
// uses, in all three versions of the protocol.
func TestMosquittoClients(t *testing.T) {
	s := newStore()
	_, address := startBroker(t, s, nil)
	for i, version := range []string{"mqttv31", "mqttv311", "mqttv5"} {
		id := ident(i)
		// Android publishes with retain and a will.
		out, err := run(t, manual(id), "mosquitto_pub", mosquittoArgs(t, address, id, "-V", version, "-i", id, "-q", "1", "-r", "-s", "-t", "owntracks/"+id+"/pixel",
			"--will-topic", "owntracks/"+id+"/pixel", "--will-payload", `{"_type":"lwt","tst":1}`, "--will-retain", "--will-qos", "1")...)
		if err != nil {
			t.Fatalf("%s: %v: %s", version, err, out)
		}
		if c := s.next(t); c.Message.ID != id || c.Auth != attendance.AuthUser {
			t.Errorf("%s: kept as %+v", version, c)
		}
		if out, err = run(t, nil, "mosquitto_pub", mosquittoArgs(t, address, id, "-V", version, "-q", "1", "-t", "owntracks/somebody/pixel", "-m", "x")...); err == nil && version != "mqttv5" {
			t.Errorf("%s: a foreign topic is acknowledged: %s", version, out)
		}
		if out, err = run(t, nil, "mosquitto_pub", mosquittoArgs(t, address, id, "-V", version, "-q", "1", "-t", "x", "-m", "x", "-P", "wrong")...); err == nil {
			t.Errorf("%s: a wrong password is let in: %s", version, out)
		}
		if out, err = run(t, nil, "mosquitto_sub", mosquittoArgs(t, address, id, "-V", version, "-q", "1", "-W", "5", "-E", "-t", "#")...); !strings.Contains(out, "denied") {
			t.Errorf("%s: # is not refused: %v %s", version, err, out)
		}
	}
	if n := len(s.list()); n != 3 {
		t.Errorf("%d kept, want 3", n)
	}
}

// TestMosquittoReceipt has a real client wait for a receipt, while the phone
// sends its check-in again until somebody listens.
func TestMosquittoReceipt(t *testing.T) {
	s := newStore()
	_, address := startBroker(t, s, nil)
	program(t, "mosquitto_sub")
	type result struct {
		out string
		err error
	}
	heard := make(chan result, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		out, err := run(t, nil, "mosquitto_sub", mosquittoArgs(t, address, "ada", "-q", "1", "-C", "1", "-W", "10", "-t", phone.ReceiptTopic(site, "ada"))...)
		heard <- result{out, err}
	})
	payload := signed(t, "ada", 1, "")
	for {
		if out, err := run(t, payload, "mosquitto_pub", mosquittoArgs(t, address, "ada", "-q", "1", "-s", "-t", phone.CheckInTopic(site, "ada"))...); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		select {
		case r := <-heard:
			if r.err != nil {
				t.Fatalf("%v: %s", r.err, r.out)
			}
			if got := openReceipt(t, []byte(strings.TrimSpace(r.out))); got.Counter != 1 || len(s.list()) != 1 {
				t.Errorf("receipt %+v, %d kept", got, len(s.list()))
			}
			return
		default:
		}
	}
}

// TestPahoClient holds the broker against the library that many apps use, with
// its usual options.
func TestPahoClient(t *testing.T) {
	s := newStore()
	b, address := startBroker(t, s, nil)
	receipts := make(chan []byte, 10)
	opts := paho.NewClientOptions().AddBroker("tcp://" + address).SetClientID("app").SetUsername("ada").SetPassword("pw-ada").SetCleanSession(false).
		SetConnectTimeout(patience).SetAutoReconnect(false)
	client := paho.NewClient(opts)
	done := func(token paho.Token) error {
		if !token.WaitTimeout(patience) {
			return errors.New("no answer")
		}
		return token.Error()
	}
	if err := done(client.Connect()); err != nil {
		t.Fatal(err)
	}
	defer client.Disconnect(100)
	if err := done(client.Subscribe(phone.ReceiptTopic(site, "ada"), 1, func(_ paho.Client, m paho.Message) { receipts <- m.Payload() })); err != nil {
		t.Fatal(err)
	}
	const n = 300 // more than one message on its way each way
	tokens := make([]paho.Token, n)
	for i := range tokens {
		tokens[i] = client.Publish(phone.CheckInTopic(site, "ada"), 1, true, signed(t, "ada", uint64(i+1), ""))
		if i%10 == 9 {
			for range 10 {
				select {
				case r := <-receipts:
					openReceipt(t, r)
				case <-time.After(patience):
					t.Fatalf("no receipt at check-in %d", i)
				}
			}
		}
	}
	for i, token := range tokens {
		if err := done(token); err != nil {
			t.Fatalf("check-in %d: %v", i, err)
		}
	}
	for i, c := range s.list() {
		if c.Counter != uint64(i+1) {
			t.Fatalf("check-in %d came as number %d", c.Counter, i+1)
		}
	}
	if n := b.Stats(); n.Receipts != 300 || n.Unanswered != 0 {
		t.Errorf("stats %+v", n)
	}
}

// mosquitto is a real broker of a test.
type mosquitto struct {
	t       testing.TB
	dir     string
	address string
	cmd     *exec.Cmd
}

// startMosquitto runs a broker with passwords and an ACL as DESIGN.md asks for.
func startMosquitto(t testing.TB) *mosquitto {
	t.Helper()
	program(t, "mosquitto")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &mosquitto{t: t, dir: t.TempDir(), address: l.Addr().String()}
	if err := l.Close(); err != nil { // mosquitto can't take a socket over
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(m.address)
	if err != nil {
		t.Fatal(err)
	}
	m.write("acl", `user gw-01
topic read punchd/`+site+`/checkin/+
topic read owntracks/+/+
topic write punchd/`+site+`/receipt/+

pattern write punchd/`+site+`/checkin/%u
pattern read punchd/`+site+`/receipt/%u
pattern readwrite owntracks/%u/#
`)
	m.write("passwd", "")
	for _, user := range []string{"gw-01", "ada", "bob", "carl"} {
		if out, err := run(t, nil, "mosquitto_passwd", "-b", filepath.Join(m.dir, "passwd"), user, "pw-"+user); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	m.write("mosquitto.conf", fmt.Sprintf("listener %s 127.0.0.1\nallow_anonymous false\npassword_file %s/passwd\nacl_file %s/acl\npersistence true\npersistence_location %s/\n%s",
		port, m.dir, m.dir, m.dir, asRoot()))
	m.start()
	t.Cleanup(m.stop)
	return m
}

// asRoot lets mosquitto read the test's files when the test runs as root.
func asRoot() string {
	if os.Getuid() == 0 {
		return "user root\n"
	}
	return ""
}

func (m *mosquitto) write(name, content string) {
	m.t.Helper()
	if err := os.WriteFile(filepath.Join(m.dir, name), []byte(content), 0o600); err != nil {
		m.t.Fatal(err)
	}
}

func (m *mosquitto) start() {
	m.t.Helper()
	m.cmd = exec.Command(program(m.t, "mosquitto"), "-c", filepath.Join(m.dir, "mosquitto.conf"), "-v")
	stderr, err := m.cmd.StderrPipe()
	if err != nil {
		m.t.Fatal(err)
	}
	if err := m.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	running := make(chan bool, 1)
	go func() { // ends with the program
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if strings.HasSuffix(lines.Text(), "running") {
				running <- true
			}
		}
		running <- false
	}()
	select {
	case ok := <-running:
		if !ok {
			m.t.Fatal("mosquitto does not start")
		}
	case <-time.After(patience):
		m.t.Fatal("mosquitto does not start")
	}
}

func (m *mosquitto) stop() {
	if m.cmd == nil {
		return
	}
	// Interrupted it saves its sessions.
	_ = m.cmd.Process.Signal(os.Interrupt) // it may have ended
	force := time.AfterFunc(patience, func() { _ = m.cmd.Process.Kill() })
	_ = m.cmd.Wait()
	force.Stop()
	m.cmd = nil
}

// publish has a user publish as mosquitto_pub does.
func (m *mosquitto) publish(user, topic string, payload []byte, more ...string) {
	m.t.Helper()
	if out, err := run(m.t, payload, "mosquitto_pub", mosquittoArgs(m.t, m.address, user, append([]string{"-q", "1", "-s", "-t", topic}, more...)...)...); err != nil {
		m.t.Fatalf("%v: %s", err, out)
	}
}
