package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"souk/pb"
)

const usage = `souk sell|buy MARKET CERT.pem NAME    trades a lantern
souk stock MARKET CERT.pem ITEMS      imports a catalogue and counts it as a till
souk renew MARKET CERT.pem            renews the certificate with $GEN_CERTS, and uses it
souk idle MARKET CERT.pem SECONDS     receives a callback before and after a quiet time`

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	souk, err := Open(os.Args[3], os.Args[2])
	check(err)
	argument := strings.Join(os.Args[4:], " ")
	switch os.Args[1] {
	case "sell":
		sell(souk, argument)
	case "buy":
		buy(souk, argument)
	case "stock":
		stock(souk, number(argument))
	case "renew":
		renew(souk)
	case "idle":
		idle(souk, time.Duration(number(argument))*time.Second)
	}
}

// sell lists a lantern, and reduces its price when the market calls back with an order.
func sell(souk *Souk, name string) {
	events := make(chan *pb.Event, 8)
	inbox, err := OpenInbox(souk.Credentials, func(event *pb.Event) { events <- event })
	check(err)
	register(souk, "Gopher", inbox.Port)
	seller, ctx := pb.NewSellerServiceClient(souk.Connection()), context.Background()
	quantity, category := int64(10), "home/light"
	draft := &pb.ItemDraft{Name: &name, Category: &category, UnitPrice: pounds(1250), Quantity: &quantity}
	listed, err := seller.SellItem(ctx, &pb.SellItemRequest{RequestId: NewRequestID(), Item: draft})
	check(err)
	order := next(events).GetOrderPlaced().GetOrder()
	expect(order.GetItemId() == listed.Item.ItemId && order.GetQuantity() == 2, order)
	cheaper := &pb.ItemDraft{UnitPrice: pounds(999)}
	_, err = seller.UpdateItem(ctx, &pb.UpdateItemRequest{RequestId: NewRequestID(), ItemId: listed.Item.ItemId, Item: cheaper})
	check(err)
	inbox.Close()
	fmt.Printf("go: sold %d × %s to %s, and was called back: ok\n", order.Quantity, order.ItemName, order.BuyerName)
}

// buy waits for the lantern, wishes for it and buys it, and receives an event on a stream when its price drops.
func buy(souk *Souk, name string) {
	register(souk, "Gordon", 0)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // ends the streams
	watch, err := pb.NewCatalogServiceClient(souk.Connection()).WatchSearch(ctx, &pb.WatchSearchRequest{Query: name})
	check(err)
	var lantern *pb.Item
	for lantern == nil {
		message, err := watch.Recv()
		check(err)
		if lantern = message.GetMatch(); lantern == nil {
			lantern = message.GetChange().GetItem()
		}
	}
	buyer := pb.NewBuyerServiceClient(souk.Connection())
	_, err = buyer.AddToWishlist(ctx, &pb.AddToWishlistRequest{RequestId: NewRequestID(), ItemId: lantern.ItemId})
	check(err)
	request := &pb.BuyItemRequest{RequestId: NewRequestID(), ItemId: lantern.ItemId, Quantity: 2}
	bought, err := buyer.BuyItem(ctx, request)
	check(err)
	expect(bought.Order.TotalPrice.AmountMinor == 2500, bought)
	events := pb.NewEventServiceClient(souk.Connection())
	stream, err := events.Subscribe(ctx, &pb.SubscribeRequest{})
	check(err)
	for {
		message, err := stream.Recv()
		check(err)
		if event := message.GetEvent(); event != nil {
			expect(event.GetItemUpdated().GetPreviousUnitPrice().GetAmountMinor() == 1250, event)
			_, err = events.Acknowledge(ctx, &pb.AcknowledgeRequest{Sequence: event.Sequence})
			check(err)
			break
		}
	}
	fmt.Printf("go: bought order %d from %s, and received the event on a stream: ok\n", bought.Order.OrderId, bought.Order.SellerName)
}

// stock imports items by a client stream and counts them by a bidirectional one, with one small message per item.
func stock(souk *Souk, count int64) {
	register(souk, "Stock of Go", 0)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	seller := pb.NewSellerServiceClient(souk.Connection())
	rows, err := seller.ImportItems(ctx)
	check(err)
	check(rows.Send(&pb.ImportItemsRequest{Message: &pb.ImportItemsRequest_Header{Header: &pb.ImportHeader{}}}))
	for line := int64(1); line <= count; line++ {
		sku, name, category, quantity := fmt.Sprintf("G-%d", line), fmt.Sprintf("Gravel %d", line), "garden", int64(1)
		draft := &pb.ItemDraft{Sku: &sku, Name: &name, Category: &category, UnitPrice: pounds(5), Quantity: &quantity}
		row := &pb.ImportRow{Line: line, Item: draft}
		check(rows.Send(&pb.ImportItemsRequest{Message: &pb.ImportItemsRequest_Row{Row: row}}))
	}
	imported, err := rows.CloseAndRecv()
	check(err)
	expect(imported.CreatedCount == count && imported.FailedCount == 0, imported)

	till, err := seller.SyncInventory(ctx)
	check(err)
	go func() {
		hello := &pb.SyncInventoryRequest_Hello{Hello: &pb.SyncHello{Till: "gravel"}}
		_ = till.Send(&pb.SyncInventoryRequest{Message: hello})
		for line := int64(1); line <= count; line++ {
			counted := &pb.SyncLine{Line: line, Item: &pb.SyncLine_Sku{Sku: fmt.Sprintf("G-%d", line)},
				Change: &pb.SyncLine_QuantityDelta{QuantityDelta: 1}}
			// The receiver reports why, if it fails.
			_ = till.Send(&pb.SyncInventoryRequest{Message: &pb.SyncInventoryRequest_Line{Line: counted}})
		}
		_ = till.CloseSend()
	}()
	acknowledged := int64(0)
	for {
		message, err := till.Recv()
		if err == io.EOF {
			break
		}
		check(err)
		if answer := message.GetAcknowledgement(); answer != nil {
			acknowledged++
			expect(answer.Line == acknowledged && answer.GetStock().GetQuantity() == 2, answer)
		}
	}
	expect(acknowledged == count, acknowledged)
	fmt.Printf("go: imported %d items and counted them on a till's stream: ok\n", count)
}

// renew shows that a renewed certificate is used for the next connection.
func renew(souk *Souk) {
	register(souk, "Stock of Go", 0)
	serial := func() string {
		who, err := pb.NewSessionServiceClient(souk.Connection()).WhoAmI(context.Background(), &pb.WhoAmIRequest{})
		check(err)
		return who.Certificate.SerialNumber
	}
	before := serial()
	name := strings.TrimSuffix(filepath.Base(souk.Credentials.cert), ".pem")
	check(exec.Command(os.Getenv("GEN_CERTS"), "renew", name).Run())
	after := serial()
	expect(after != before, after)
	fmt.Println("go: the renewed certificate is in use: ok")
}

// idle receives one callback, and another after a quiet time. Each must come once, at the first attempt. The connection may
// be another one: the market drops all of them when it loads a new revocation list.
func idle(souk *Souk, quiet time.Duration) {
	events := make(chan *pb.Event, 8)
	inbox, err := OpenInbox(souk.Credentials, func(event *pb.Event) { events <- event })
	check(err)
	register(souk, "Idle Go", inbox.Port)
	client := pb.NewEventServiceClient(souk.Connection())
	for attempt := 1; attempt <= 2; attempt++ {
		text := fmt.Sprintf("callback %d", attempt)
		_, err = client.TestEvent(context.Background(), &pb.TestEventRequest{RequestId: NewRequestID(), Text: text})
		check(err)
		expect(next(events).GetTestNotice().GetText() == text, text)
		if attempt == 1 {
			select {
			case event := <-events:
				check(fmt.Errorf("an event came twice: %v", event))
			case <-time.After(quiet):
			}
		}
	}
	mailbox, err := client.MailboxStatus(context.Background(), &pb.MailboxStatusRequest{})
	check(err)
	expect(inbox.Deliveries == 2 && mailbox.FailureCount == 0, fmt.Sprint(inbox.Deliveries, mailbox))
	fmt.Printf("go: callbacks before and after %v without a call: ok\n", quiet)
}

func register(souk *Souk, name string, port int) {
	var callback *pb.CallbackAddress
	if port != 0 {
		callback = &pb.CallbackAddress{Port: uint32(port)}
	}
	accounts, ctx := pb.NewAccountServiceClient(souk.Connection()), context.Background()
	var err error
	if souk.Credentials.Role == "seller" {
		request := &pb.RegisterSellerRequest{RequestId: NewRequestID(), DisplayName: name, Callback: callback}
		_, err = accounts.RegisterSeller(ctx, request)
	} else {
		request := &pb.RegisterBuyerRequest{RequestId: NewRequestID(), DisplayName: name, Callback: callback}
		_, err = accounts.RegisterBuyer(ctx, request)
	}
	check(err)
}

func next(events chan *pb.Event) *pb.Event {
	select {
	case event := <-events:
		return event
	case <-time.After(time.Minute):
		check(status.Error(codes.DeadlineExceeded, "no event in time"))
		return nil
	}
}

func pounds(amountMinor int64) *pb.Money {
	return &pb.Money{CurrencyCode: "GBP", AmountMinor: amountMinor}
}

func number(text string) int64 {
	parsed, err := strconv.ParseInt(text, 10, 64)
	check(err)
	return parsed
}

func expect(is bool, what interface{}) {
	if !is {
		check(fmt.Errorf("not as expected: %v", what))
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}
