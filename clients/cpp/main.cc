#include <cstdlib>
#include <iostream>
#include <vector>

#include "shopping/v1/buyer_service.grpc.pb.h"
#include "shopping/v1/catalog_service.grpc.pb.h"
#include "shopping/v1/event_service.grpc.pb.h"
#include "shopping/v1/seller_service.grpc.pb.h"
#include "shopping/v1/session_service.grpc.pb.h"
#include "souk.h"

using namespace souk;

constexpr char kUsage[] = R"(souk sell|buy MARKET CERT.pem NAME      trades a lantern
souk stock MARKET CERT.pem ITEMS        imports a catalogue and counts it as a till
souk many MARKET CERT.pem STREAMS ROWS  imports over many streams of one connection at once
souk renew MARKET CERT.pem              renews the certificate with $GEN_CERTS, and uses it)";

static void Expect(bool is, const std::string& what) {
  if (!is) throw std::runtime_error("not as expected: " + what);
}

static void SetPounds(v1::Money* money, int64_t amount_minor) {
  money->set_currency_code("GBP");
  money->set_amount_minor(amount_minor);
}

static void Register(Souk& souk, const std::string& name, int port = 0) {
  auto accounts = v1::AccountService::NewStub(souk.Channel());
  const auto fill = [&](auto request) {
    request.set_request_id(NewRequestId());
    request.set_display_name(name);
    if (port != 0) request.mutable_callback()->set_port(port);
    return request;
  };
  if (souk.credentials.role == "seller") {
    const auto request = fill(v1::RegisterSellerRequest());
    v1::RegisterSellerResponse answer;
    souk.Call([&](auto* context) { return accounts->RegisterSeller(context, request, &answer); }, false);
  } else {
    const auto request = fill(v1::RegisterBuyerRequest());
    v1::RegisterBuyerResponse answer;
    souk.Call([&](auto* context) { return accounts->RegisterBuyer(context, request, &answer); }, false);
  }
}

// Lists a lantern, and reduces its price when the market calls back with an order.
static void Sell(Souk& souk, const std::string& name) {
  std::promise<v1::Event> received;
  Inbox inbox(souk.credentials, [&](const v1::Event& event) { received.set_value(event); });
  Register(souk, "Bjarne", inbox.port);
  auto seller = v1::SellerService::NewStub(souk.Channel());
  v1::SellItemRequest draft;
  draft.set_request_id(NewRequestId());
  draft.mutable_item()->set_name(name);
  draft.mutable_item()->set_category("home/light");
  draft.mutable_item()->set_quantity(10);
  SetPounds(draft.mutable_item()->mutable_unit_price(), 1250);
  v1::SellItemResponse listed;
  souk.Call([&](auto* context) { return seller->SellItem(context, draft, &listed); });

  auto event = received.get_future();
  Expect(event.wait_for(seconds(60)) == std::future_status::ready, "no event in time");
  const auto order = event.get().order_placed().order();
  Expect(order.item_id() == listed.item().item_id() && order.quantity() == 2, order.ShortDebugString());
  v1::UpdateItemRequest cheaper;
  cheaper.set_request_id(NewRequestId());
  cheaper.set_item_id(order.item_id());
  SetPounds(cheaper.mutable_item()->mutable_unit_price(), 999);
  v1::UpdateItemResponse updated;
  souk.Call([&](auto* context) { return seller->UpdateItem(context, cheaper, &updated); });
  std::cout << "cpp: sold " << order.quantity() << " × " << order.item_name() << " to " << order.buyer_name()
            << ", and was called back: ok" << std::endl;
}

// Waits for the lantern, wishes for it and buys it, and receives an event on a stream when its price drops.
static void Buy(Souk& souk, const std::string& name) {
  Register(souk, "Ada");
  v1::WatchSearchRequest query;
  query.set_query(name);
  auto watching = souk.Context();
  auto watch = v1::CatalogService::NewStub(souk.Channel())->WatchSearch(watching.get(), query);
  v1::WatchSearchResponse found;
  while (watch->Read(&found) && !found.has_match() && !found.has_change()) {
  }
  const auto lantern = found.has_match() ? found.match() : found.change().item();
  watching->TryCancel();
  auto buyer = v1::BuyerService::NewStub(souk.Channel());
  v1::AddToWishlistRequest wish;
  wish.set_request_id(NewRequestId());
  wish.set_item_id(lantern.item_id());
  v1::AddToWishlistResponse wished;
  souk.Call([&](auto* context) { return buyer->AddToWishlist(context, wish, &wished); });
  v1::BuyItemRequest request;
  request.set_request_id(NewRequestId());
  request.set_item_id(lantern.item_id());
  request.set_quantity(2);
  v1::BuyItemResponse bought;
  souk.Call([&](auto* context) { return buyer->BuyItem(context, request, &bought); });
  Expect(bought.order().total_price().amount_minor() == 2500, bought.ShortDebugString());

  auto events = v1::EventService::NewStub(souk.Channel());
  auto subscribing = souk.Context();
  auto stream = events->Subscribe(subscribing.get(), {});
  v1::SubscribeResponse message;
  while (stream->Read(&message) && !message.has_event()) {
  }
  const auto& event = message.event();
  Expect(event.item_updated().previous_unit_price().amount_minor() == 1250, message.ShortDebugString());
  v1::AcknowledgeRequest taken;
  taken.set_sequence(event.sequence());
  v1::AcknowledgeResponse acknowledged;
  souk.Call([&](auto* context) { return events->Acknowledge(context, taken, &acknowledged); });
  subscribing->TryCancel();
  std::cout << "cpp: bought order " << bought.order().order_id() << " from " << bought.order().seller_name()
            << ", and received the event on a stream: ok" << std::endl;
}

// Imports new items, with one small message, and so one frame, per item.
static grpc::Status Import(Souk& souk, const std::string& prefix, int64_t count, v1::ImportItemsResponse* answer) {
  auto context = souk.Context(true, Clock::now() + seconds(120));
  auto rows = v1::SellerService::NewStub(souk.Channel())->ImportItems(context.get(), answer);
  v1::ImportItemsRequest message;
  message.mutable_header();
  rows->Write(message);
  for (int64_t line = 1; line <= count; ++line) {
    auto* row = message.mutable_row();
    row->set_line(line);
    row->mutable_item()->set_sku(prefix + std::to_string(line));
    row->mutable_item()->set_name("r");
    row->mutable_item()->set_category("g");
    row->mutable_item()->set_quantity(1);
    SetPounds(row->mutable_item()->mutable_unit_price(), 5);
    if (!rows->Write(message)) break;  // Finish says why
  }
  rows->WritesDone();
  return rows->Finish();
}

// Imports items by a client stream and counts them by a bidirectional one.
static void Stock(Souk& souk, int64_t count) {
  Register(souk, "Stock of C++");
  v1::ImportItemsResponse imported;
  const auto status = Import(souk, "C-", count, &imported);
  if (!status.ok()) Souk::Fail(status);
  Expect(imported.created_count() == count && imported.failed_count() == 0, imported.ShortDebugString());

  auto context = souk.Context(true, Clock::now() + seconds(120));
  auto till = v1::SellerService::NewStub(souk.Channel())->SyncInventory(context.get());
  std::thread sender([&] {
    v1::SyncInventoryRequest message;
    message.mutable_hello()->set_till("rubble");
    till->Write(message);
    for (int64_t line = 1; line <= count; ++line) {
      message.mutable_line()->set_line(line);
      message.mutable_line()->set_sku("C-" + std::to_string(line));
      message.mutable_line()->set_quantity_delta(1);
      if (!till->Write(message)) return;  // Finish says why
    }
    till->WritesDone();
  });
  int64_t acknowledged = 0, right = 0;
  for (v1::SyncInventoryResponse answer; till->Read(&answer);) {
    if (!answer.has_acknowledgement()) continue;
    ++acknowledged;
    right += answer.acknowledgement().line() == acknowledged && answer.acknowledgement().stock().quantity() == 2;
  }
  sender.join();
  const auto ended = till->Finish();
  if (!ended.ok()) Souk::Fail(ended);
  Expect(acknowledged == count && right == count, std::to_string(right) + " of " + std::to_string(acknowledged));
  std::cout << "cpp: imported " << count << " items and counted them on a till's stream: ok" << std::endl;
}

// Imports over many streams at once. The market may ask some of them to come later, but must not end the connection.
static void Many(Souk& souk, int streams, int64_t rows) {
  Register(souk, "Imports of C++");
  std::vector<std::future<void>> imports;
  for (int stream = 0; stream < streams; ++stream) {
    imports.push_back(std::async(std::launch::async, [&souk, stream, rows] {
      const auto deadline = Clock::now() + seconds(120);
      for (;;) {
        v1::ImportItemsResponse imported;
        const auto status = Import(souk, std::string(1, 'a' + stream), rows, &imported);
        const auto retry_after = Failure(status).retry_after;
        if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED && retry_after && Clock::now() < deadline) {
          std::this_thread::sleep_for(Wait(1, retry_after));
          continue;
        }
        if (!status.ok()) Souk::Fail(status);
        Expect(imported.created_count() + imported.unchanged_count() == rows, imported.ShortDebugString());
        return;
      }
    }));
  }
  for (auto& import : imports) import.get();
  std::cout << "cpp: " << streams << " imports of " << rows << " rows at once over one connection: ok" << std::endl;
}

// Shows that a renewed certificate is used for the next connection.
static void Renew(Souk& souk) {
  Register(souk, "Stock of C++");
  const auto serial = [&] {
    auto session = v1::SessionService::NewStub(souk.Channel());
    v1::WhoAmIResponse who;
    souk.Call([&](auto* context) { return session->WhoAmI(context, {}, &who); });
    return who.certificate().serial_number();
  };
  const auto before = serial();
  auto name = souk.credentials.cert.substr(souk.credentials.cert.rfind('/') + 1);
  name.resize(name.rfind('.'));
  Expect(std::system(("\"$GEN_CERTS\" renew " + name + " >/dev/null").c_str()) == 0, "gen-certs renew failed");
  const auto after = serial();
  Expect(before != after, after);
  std::cout << "cpp: the renewed certificate is in use: ok" << std::endl;
}

int main(int count, char** arguments) try {
  if (count < 4) {
    std::cerr << kUsage << std::endl;
    return 2;
  }
  const std::string command = arguments[1], argument = count > 4 ? arguments[4] : "";
  Souk souk(arguments[3], arguments[2]);
  if (command == "sell") Sell(souk, argument);
  if (command == "buy") Buy(souk, argument);
  if (command == "stock") Stock(souk, std::stoll(argument));
  if (command == "many") Many(souk, std::stoi(argument), std::stoll(arguments[5]));
  if (command == "renew") Renew(souk);
  return 0;
} catch (const std::exception& failure) {
  std::cerr << "error: " << failure.what() << std::endl;
  return 1;
}
