// A client of a Souk market.
//
// The certificate is the account: the connection presents it, x-party-id repeats its UUID, and the access token is
// bound to it. README.md describes how to build it.
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	mathrand "math/rand"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"souk/pb"
)

const (
	market      = "market.souk.internal"
	timeout     = 10 * time.Second // of a call with its retries
	maxAttempts = 5
	firstDelay  = 100 * time.Millisecond
	maxDelay    = 2 * time.Second
)

// Credentials are a certificate from gen-certs.sh, with its key and ca.pem in the same folder. Files that change are
// loaded again, so that a renewed certificate is used from the next connection on.
type Credentials struct {
	Role, PartyID string
	cert          string
	roots         *x509.CertPool
	mutex         sync.Mutex
	loaded        tls.Certificate
	stamp         time.Time
}

// LoadCredentials reads the files beside the certificate.
func LoadCredentials(cert string) (*Credentials, error) {
	authority, err := os.ReadFile(filepath.Join(filepath.Dir(cert), "ca.pem"))
	if err != nil {
		return nil, err
	}
	c := &Credentials{cert: cert, roots: x509.NewCertPool()}
	c.roots.AppendCertsFromPEM(authority)
	loaded, _, err := c.current()
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(loaded.Certificate[0])
	if err != nil {
		return nil, err
	}
	path := strings.Split(leaf.URIs[0].Path, "/") // spiffe://souk.internal/ROLE/UUID
	c.Role, c.PartyID = path[1], path[2]
	return c, nil
}

// current returns the certificate and the time of its file. A pair that is being replaced is left for the next time.
func (c *Credentials) current() (*tls.Certificate, time.Time, error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	info, err := os.Stat(c.cert)
	if err == nil && !info.ModTime().Equal(c.stamp) {
		var loaded tls.Certificate
		if loaded, err = tls.LoadX509KeyPair(c.cert, strings.TrimSuffix(c.cert, ".pem")+".key"); err == nil {
			c.loaded, c.stamp = loaded, info.ModTime()
		}
	}
	if len(c.loaded.Certificate) == 0 {
		return nil, c.stamp, err
	}
	loaded := c.loaded
	return &loaded, c.stamp, nil
}

func (c *Credentials) client() credentials.TransportCredentials {
	present := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		loaded, _, err := c.current()
		return loaded, err
	}
	// The market is verified by its identity, independent of its address.
	return credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: c.roots, ServerName: market, GetClientCertificate: present,
	})
}

// Souk is a connection to a market.
type Souk struct {
	Credentials *Credentials
	address     string
	mutex       sync.Mutex
	connection  *grpc.ClientConn
	stamp       time.Time
	tokens      tokens
}

// Open prepares the connection. Nothing is sent before the first call.
func Open(cert, address string) (*Souk, error) {
	credentials, err := LoadCredentials(cert)
	return &Souk{Credentials: credentials, address: address}, err
}

// Connection returns the connection for the generated clients: pb.NewSellerServiceClient(souk.Connection()). After the
// certificate was renewed it is a new one. Earlier ones stay open, since streams use them.
func (s *Souk) Connection() *grpc.ClientConn {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if _, stamp, _ := s.Credentials.current(); s.connection == nil || !stamp.Equal(s.stamp) {
		connection, err := grpc.Dial(s.address,
			grpc.WithTransportCredentials(s.Credentials.client()),
			grpc.WithPerRPCCredentials(s),
			grpc.WithUnaryInterceptor(s.repeat),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 10 * time.Second}))
		if err != nil {
			panic(err) // only for options that contradict each other
		}
		// A token is bound to the certificate with which it was fetched.
		s.tokens.drop()
		s.connection, s.stamp = connection, stamp
	}
	return s.connection
}

// GetRequestMetadata returns the account's UUID and a valid token. It is a part of credentials.PerRPCCredentials.
func (s *Souk) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	metadata := map[string]string{"x-party-id": s.Credentials.PartyID}
	if info, _ := credentials.RequestInfoFromContext(ctx); !strings.HasPrefix(info.Method, "/shopping.v1.AccountService/") {
		token, err := s.tokens.get(ctx, s)
		if err != nil {
			return nil, err
		}
		metadata["authorization"] = "Bearer " + token
	}
	return metadata, nil
}

// RequireTransportSecurity is a part of credentials.PerRPCCredentials.
func (s *Souk) RequireTransportSecurity() bool { return true }

// repeat gives each call a deadline and repeats what may be repeated: docs/protocol.md, "Which errors to repeat".
func (s *Souk) repeat(ctx context.Context, method string, request, answer interface{}, connection *grpc.ClientConn,
	invoke grpc.UnaryInvoker, options ...grpc.CallOption) error {
	if _, isSet := ctx.Deadline(); !isSet {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	isReplayed := false
	for attempt := 1; ; attempt++ {
		err := invoke(ctx, method, request, answer, connection, options...)
		code, wait := status.Code(err), backOff(attempt)
		requested, isRequested := retryInfo(err)
		switch {
		case code == codes.Unauthenticated && !isReplayed && !strings.Contains(method, "AccountService"):
			isReplayed = true
			s.tokens.drop()
			continue
		case attempt == maxAttempts || code != codes.Unavailable && !(code == codes.ResourceExhausted && isRequested):
			return err
		case isRequested:
			// Spread, so that clients that were refused together do not return together.
			wait = requested + time.Duration(mathrand.Int63n(int64(requested/2+firstDelay)))
		}
		if deadline, _ := ctx.Deadline(); time.Until(deadline) < wait {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// backOff returns a random time in the upper half of a doubling interval.
func backOff(attempt int) time.Duration {
	whole := firstDelay << uint(attempt-1)
	if whole > maxDelay {
		whole = maxDelay
	}
	return whole/2 + time.Duration(mathrand.Int63n(int64(whole/2)))
}

func retryInfo(err error) (time.Duration, bool) {
	for _, detail := range status.Convert(err).Details() {
		if info, is := detail.(*errdetails.RetryInfo); is {
			return info.GetRetryDelay().AsDuration(), true
		}
	}
	return 0, false
}

// tokens keeps an access token. Calls that need one at the same time share one IssueToken.
type tokens struct {
	mutex   sync.Mutex
	token   string
	renewAt time.Time
	fetch   chan struct{} // closed when the fetch in progress has ended
	failure error
}

func (t *tokens) get(ctx context.Context, souk *Souk) (string, error) {
	for joined := false; ; joined = true {
		t.mutex.Lock()
		if time.Now().Before(t.renewAt) {
			defer t.mutex.Unlock()
			return t.token, nil
		}
		if joined && t.failure != nil {
			defer t.mutex.Unlock()
			return "", t.failure
		}
		if t.fetch == nil {
			t.fetch, t.failure = make(chan struct{}), nil
			go t.run(souk)
		}
		fetch := t.fetch
		t.mutex.Unlock()
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-fetch:
		}
	}
}

func (t *tokens) run(souk *Souk) {
	asked := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	issued, err := pb.NewAccountServiceClient(souk.Connection()).IssueToken(ctx, &pb.IssueTokenRequest{})
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.failure = err; err == nil {
		life := issued.ExpireTime.AsTime().Sub(issued.IssueTime.AsTime())
		// Between two thirds and three quarters of its life, so that clients do not renew in step.
		t.token, t.renewAt = issued.AccessToken, asked.Add(life*2/3+time.Duration(mathrand.Int63n(int64(life/12)+1)))
	}
	close(t.fetch)
	t.fetch = nil
}

func (t *tokens) drop() {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.renewAt = time.Time{}
}

// NewRequestID returns a new request id. A call that is retried with the same id takes effect once.
func NewRequestID() string {
	var id [16]byte
	if _, err := rand.Read(id[:]); err != nil {
		panic(err)
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}
