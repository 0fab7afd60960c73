package main

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"souk/pb"
)

// remembered is the number of event ids that an inbox keeps.
const remembered = 1024

// Inbox is a callback server, which only the market may call. It passes each event to take once, one at a time, and
// acknowledges it when take returns.
type Inbox struct {
	pb.UnimplementedNotificationServiceServer
	Port    int
	partyID string
	take    func(*pb.Event)
	server  *grpc.Server
	mutex   sync.Mutex
	seen    map[string]bool
	oldest  []string
	// Deliveries counts the events received, with those that came again.
	Deliveries int
}

// OpenInbox listens on a free loopback port.
func OpenInbox(c *Credentials, take func(*pb.Event)) (*Inbox, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	present := func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		loaded, _, err := c.current()
		return loaded, err
	}
	secured := credentials.NewTLS(&tls.Config{
		MinVersion: tls.VersionTLS13, GetCertificate: present,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: c.roots,
	})
	inbox := &Inbox{
		Port: listener.Addr().(*net.TCPAddr).Port, partyID: c.PartyID, take: take, server: grpc.NewServer(grpc.Creds(secured)),
		seen: map[string]bool{},
	}
	pb.RegisterNotificationServiceServer(inbox.server, inbox)
	go inbox.server.Serve(listener)
	return inbox, nil
}

// NotifyClient receives events.
func (i *Inbox) NotifyClient(ctx context.Context, request *pb.NotifyClientRequest) (*pb.NotifyClientResponse, error) {
	caller, _ := peer.FromContext(ctx)
	if !isMarket(caller) {
		return nil, status.Error(codes.PermissionDenied, "only the market may call a callback")
	}
	if request.RecipientId != i.partyID {
		return nil, status.Error(codes.InvalidArgument, "these events are for somebody else")
	}
	// A delivery that is repeated while the first is being processed waits for it, and then finds its events here.
	i.mutex.Lock()
	defer i.mutex.Unlock()
	var last int64
	for _, event := range request.Events {
		i.Deliveries++
		if !i.seen[event.EventId] {
			i.take(event)
			i.seen[event.EventId] = true
			if i.oldest = append(i.oldest, event.EventId); len(i.oldest) > remembered {
				delete(i.seen, i.oldest[0])
				i.oldest = i.oldest[1:]
			}
		}
		last = event.Sequence
	}
	return &pb.NotifyClientResponse{AcknowledgedSequence: last}, nil
}

// Close stops the server after the calls in progress.
func (i *Inbox) Close() { i.server.GracefulStop() }

func isMarket(caller *peer.Peer) bool {
	secured, _ := caller.AuthInfo.(credentials.TLSInfo)
	for _, uri := range secured.State.PeerCertificates[0].URIs {
		if uri.Scheme == "spiffe" && strings.TrimPrefix(uri.Path, "/") == "market" {
			return true
		}
	}
	return false
}
