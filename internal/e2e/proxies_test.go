package e2e

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gatehouse-at/gatehouse"
)

// documented returns the only code block of docs/operations.md in a language.
func documented(t *testing.T, language string) string {
	t.Helper()
	b, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?s)\n```"+language+"\n(.*?)\n```\n").FindAllStringSubmatch(string(b), -1)
	if len(found) != 1 {
		t.Fatalf("docs/operations.md has %d code blocks in %s, want 1", len(found), language)
	}
	return found[0][1] + "\n"
}

// replace replaces pairs of texts in a configuration, which must contain each old one.
func replace(t *testing.T, text string, oldnew ...string) string {
	t.Helper()
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			t.Fatalf("the configuration doesn't contain %q: %s", oldnew[i], text)
		}
		text = strings.ReplaceAll(text, oldnew[i], oldnew[i+1])
	}
	return text
}

// proxy is a reverse proxy on loopback, configured as docs/operations.md says.
type proxy struct {
	host  string // a loopback address that nothing else uses, so that the ports are free
	roots *x509.CertPool
}

const proxyHTTP, proxyHTTPS = "20080", "20443"

// run starts a proxy's program and returns once it has logged a line that contains up.
func run(t *testing.T, up string, cmd *exec.Cmd) {
	t.Helper()
	log, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, done, ready := new(logbook), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		isUp := false
		for lines := bufio.NewReader(log); ; {
			line, err := lines.ReadString('\n')
			_, _ = io.WriteString(said, line)
			if !isUp && strings.Contains(line, up) {
				isUp = true
				close(ready)
			}
			if err != nil {
				break
			}
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-done
		if t.Failed() {
			t.Logf("the log of %s: %s", filepath.Base(cmd.Path), said)
		}
	})
	select {
	case <-ready:
	case <-done:
		t.Fatalf("%s exited: %s", filepath.Base(cmd.Path), said)
	}
}

// program returns the path of a proxy's program. It skips the test if the program isn't installed,
// and in short mode.
func program(t *testing.T, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: no other programs in short mode")
	}
	if runtime.GOOS != "linux" {
		t.Skip("skipped: needs Linux, where all of 127.0.0.0/8 is loopback")
	}
	path, err := exec.LookPath(name)
	if err != nil {
		path = "/usr/sbin/" + name
		if _, err := os.Stat(path); err != nil {
			t.Skipf("skipped: no %[1]s on this machine (apt-get install %[1]s)", name)
		}
	}
	return path
}

// loopback returns a loopback address that only the n-th proxy of this process uses.
func loopback(n int) string {
	pid := os.Getpid()
	return fmt.Sprintf("127.%d.%d.%d", 100+n, pid>>8&0xff, pid&0xff)
}

func startCaddy(t *testing.T, s *api) *proxy {
	caddy := program(t, "caddy")
	p, dir := &proxy{host: loopback(1), roots: x509.NewCertPool()}, t.TempDir()
	text := replace(t, documented(t, "caddyfile"), "127.0.0.1:2583", strings.TrimPrefix(s.URL, "http://"))
	// Caddy issues its certificates itself here, but asks /tls-check about names as it would
	// otherwise.
	text = strings.Replace(text, "{\n", fmt.Sprintf("{\n\tlocal_certs\n\tskip_install_trust\n\tadmin off\n\thttp_port %s\n\thttps_port %s\n\tdefault_bind %s\n\tstorage file_system %s\n",
		proxyHTTP, proxyHTTPS, p.host, dir), 1)
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(caddy, "run", "--adapter", "caddyfile", "--config", file)
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	run(t, "serving initial configuration", cmd)
	root, err := os.ReadFile(filepath.Join(dir, "pki/authorities/local/root.crt"))
	if err != nil || !p.roots.AppendCertsFromPEM(root) {
		t.Fatalf("Caddy's root certificate: %v", err)
	}
	return p
}

func startNginx(t *testing.T, s *api) *proxy {
	nginx := program(t, "nginx")
	p, dir := &proxy{host: loopback(2)}, t.TempDir()
	p.roots = wildcard(t, dir, "*.example.com")
	text := replace(t, documented(t, "nginx"), "127.0.0.1:2583", strings.TrimPrefix(s.URL, "http://"),
		"/etc/letsencrypt/live/example.com", dir,
		"listen [::]:80;\n", "\n", "listen [::]:443 ssl http2;\n", "\n", "listen [::]:443 ssl http2 default_server;\n", "\n",
		"listen 80;", "listen "+p.host+":"+proxyHTTP+";", "listen 443 ", "listen "+p.host+":"+proxyHTTPS+" ")
	text = fmt.Sprintf("daemon off;\nmaster_process off;\npid %[1]s/pid;\nerror_log stderr notice;\nevents {}\nhttp {\naccess_log off;\n"+
		"client_body_temp_path %[1]s/body;\nproxy_temp_path %[1]s/proxy;\nfastcgi_temp_path %[1]s/fastcgi;\nuwsgi_temp_path %[1]s/uwsgi;\nscgi_temp_path %[1]s/scgi;\n%[2]s}\n", dir, text)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "event method", exec.Command(nginx, "-p", dir, "-e", "stderr", "-c", file))
	return p
}

// wildcard writes a wildcard certificate for a domain to dir, in files named as certbot names them.
func wildcard(t *testing.T, dir, domain string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: domain}, DNSNames: []string{domain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"fullchain.pem": {Type: "CERTIFICATE", Bytes: cert}, "privkey.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	return pool
}

// visitorsAddress is the address from which clients connect to the proxies.
const visitorsAddress = "127.0.0.2"

// client returns a client that connects to the proxy whatever host a URL names.
func (p *proxy) client(t *testing.T) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(visitorsAddress)}, Timeout: 30 * time.Second}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			_, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			return dialer.DialContext(ctx, network, net.JoinHostPort(p.host, map[string]string{"80": proxyHTTP, "443": proxyHTTPS}[port]))
		},
		TLSClientConfig: &tls.Config{RootCAs: p.roots},
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport: transport, Timeout: time.Minute,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// TestDocumentedProxies runs Caddy and nginx in front of a server, with the configurations in
// docs/operations.md.
func TestDocumentedProxies(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		start func(*testing.T, *api) *proxy
		// onDemand reports whether the proxy has certificates only for hosts that exist.
		onDemand bool
	}{
		"caddy": {startCaddy, true},
		"nginx": {startNginx, false},
	} {
		t.Run(name, func(t *testing.T) {
			var log logbook
			s := newAPI(t, logged(&log), config(func(c *gatehouse.Config) {
				c.Hostname, c.PublicURL, c.HandleDomains = "pds.example.com", "https://pds.example.com", []string{".example.com"}
				c.DIDs.Directory, c.Limits = newDirectory(t), gatehouse.Limits{TrustedProxies: fromHere}
			}))
			alice := s.CreateAccount("alice.example.com")
			p := c.start(t, s)
			client := p.client(t)
			send := func(verb, url, host, body string) (reply, error) {
				t.Helper()
				req, err := http.NewRequest(verb, url, strings.NewReader(body))
				if err != nil {
					t.Fatal(err)
				}
				if host != "" {
					req.Host = host
				}
				req.Header.Set("Content-Type", "application/json")
				// The proxy must replace the forwarding headers that a client sends.
				req.Header.Set("X-Forwarded-For", theThiefs)
				req.Header.Set("X-Forwarded-Host", "alice.example.com")
				resp, err := client.Do(req)
				if err != nil {
					return reply{}, err
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				return reply{resp.StatusCode, resp.Header, string(b)}, err
			}
			expect := func(url string, want int, parts ...string) {
				t.Helper()
				got, err := send("GET", url, "", "")
				if err != nil || got.status != want || !contains(got.body, parts...) {
					t.Errorf("%s: %d %s, %v; want %d %q", url, got.status, got.body, err, want, parts)
				}
			}
			noTLS := func(url string) {
				t.Helper()
				if got, err := send("GET", url, "", ""); err == nil || !strings.Contains(err.Error(), "tls:") {
					t.Errorf("%s: %d %s, %v; want a TLS error", url, got.status, got.body, err)
				}
			}
			expect("https://pds.example.com/", 200, "AT Protocol")
			expect("https://pds.example.com/xrpc/_health", 200)
			expect("https://pds.example.com"+describeServer, 200, "did:web:pds.example.com")
			expect("https://pds.example.com/.well-known/did.json", 200, "did:web:pds.example.com", `"https://pds.example.com"`)
			expect("https://pds.example.com/tls-check?domain=alice.example.com", 404)
			expect("https://alice.example.com/.well-known/atproto-did", 200, alice.DID)
			expect("https://ALICE.example.com/.well-known/atproto-did", 200, alice.DID)
			expect("https://alice.example.com"+describeServer, 404)
			expect("https://alice.example.com/", 404)
			if c.onDemand {
				noTLS("https://bob.example.com/.well-known/atproto-did")
			} else {
				expect("https://bob.example.com/.well-known/atproto-did", 404)
			}
			noTLS("https://alice.example.org/.well-known/atproto-did")

			// A request on a TLS connection to the server's own name can't reach an account's host.
			if got, err := send("GET", "https://pds.example.com"+describeServer, "alice.example.com", ""); err != nil || got.status == 200 {
				t.Errorf("an account's Host on a connection to the server's name: %d %s, %v", got.status, got.body, err)
			}
			if got, err := send("GET", "http://alice.example.com/x?y", "", ""); err != nil || got.status != 308 ||
				!strings.HasPrefix(got.header.Get("Location"), "https://alice.example.com") || !strings.HasSuffix(got.header.Get("Location"), "/x?y") {
				t.Errorf("without TLS: %d %v, %v; want a redirect to https", got.status, got.header, err)
			}

			// The handle of a new account works immediately.
			got, err := send("POST", "https://pds.example.com/xrpc/com.atproto.server.createAccount", "",
				`{"handle":"bob.example.com","email":"bob@example.com","password":"password"}`)
			if err != nil || got.status != 200 {
				t.Fatalf("createAccount: %d %s, %v", got.status, got.body, err)
			}
			expect("https://bob.example.com/.well-known/atproto-did", 200, "did:plc:")

			// The server's log has the visitors' address, not the proxy's.
			said := log.String()
			if !contains(said, `"ip":"`+visitorsAddress+`"`) || contains(said, `"ip":"127.0.0.1"`) || contains(said, theThiefs) {
				t.Errorf("the log doesn't have only the visitors' address: %s", said)
			}
		})
	}
}
