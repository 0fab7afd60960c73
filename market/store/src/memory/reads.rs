//! Queries, by scanning the state.

use async_trait::async_trait;
use souk_domain::{
    DayParts, Item, ItemId, Order, OrderId, Party, PartyId, Recorded, RequestId, Ride, RideId, Sales,
    SalesSummary, Till, TimeRange, Totals, Wish, day_of,
};

use super::{Memory, rows::count, summary};
use crate::{
    FeedEntry, FeedPosition, ItemQuery, OrderQuery, OrdersOf, Reads, RideQuery, StoreError,
    audit::{AuditRow, Head},
};

#[async_trait]
impl Reads for Memory {
    async fn party(&self, id: PartyId) -> Result<Option<Party>, StoreError> {
        Ok(self.state().parties.get(&id).cloned())
    }

    async fn raised_epochs(&self) -> Result<Vec<(PartyId, i64)>, StoreError> {
        let state = self.state();
        Ok(state.parties.values().filter(|p| p.epoch != 0).map(|p| (p.id, p.epoch)).collect())
    }

    async fn parties(
        &self,
        after: Option<PartyId>,
        suspended_only: bool,
        limit: usize,
    ) -> Result<Vec<Party>, StoreError> {
        let state = self.state();
        let asked = state.parties.values().filter(|party| !suspended_only || party.suspension.is_some());
        Ok(asked.filter(|party| after.is_none_or(|after| party.id > after)).take(limit).cloned().collect())
    }

    async fn audit(&self, after: i64, limit: usize) -> Result<Vec<AuditRow>, StoreError> {
        let state = self.state();
        Ok(state.audit.iter().filter(|row| row.sequence > after).take(limit).cloned().collect())
    }

    async fn audit_base(&self) -> Result<Head, StoreError> {
        Ok(self.state().archived.audit_base)
    }

    async fn audit_head(&self) -> Result<Head, StoreError> {
        Ok(self.state().audit_head())
    }

    async fn item(&self, id: ItemId) -> Result<Option<Item>, StoreError> {
        Ok(self.state().item(id))
    }

    async fn items(&self, ids: &[ItemId]) -> Result<Vec<Item>, StoreError> {
        let state = self.state();
        Ok(ids.iter().filter_map(|id| state.item(*id)).collect())
    }

    async fn seller_items(&self, query: &ItemQuery) -> Result<Vec<Item>, StoreError> {
        let ItemQuery { seller, withdrawn, after, limit } = *query;
        let state = self.state();
        let own = state.items.values().filter(|item| item.seller == seller && item.is_listed() != withdrawn);
        let page = own.filter(|item| after.is_none_or(|after| item.id > after)).take(limit);
        Ok(page.filter_map(|item| state.item(item.id)).collect())
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, StoreError> {
        Ok(self.state().orders.get(id).cloned())
    }

    async fn orders(&self, query: &OrderQuery) -> Result<Vec<Order>, StoreError> {
        let state = self.state();
        let own = state.orders.all().rev().filter(|order| match query.of {
            OrdersOf::Buyer(buyer) => order.buyer == buyer,
            OrdersOf::Seller(seller) => order.seller == seller,
        });
        let page = own
            .filter(|order| query.before.is_none_or(|before| order.id < before))
            .filter(|order| query.status.is_none_or(|status| order.status == status))
            .filter(|order| query.item.is_none_or(|item| order.item == item))
            .filter(|order| query.placed.contains(order.placed_at));
        Ok(page.take(query.limit).cloned().collect())
    }

    async fn ride(&self, id: RideId) -> Result<Option<Ride>, StoreError> {
        Ok(self.state().rides.get(&id).cloned())
    }

    async fn rides(&self, query: &RideQuery) -> Result<Vec<Ride>, StoreError> {
        let state = self.state();
        let asked = state.rides.range(query.from..=query.to).rev().map(|(_, ride)| ride);
        let own = asked.filter(|ride| ride.seller == query.seller);
        let page = own.filter(|ride| query.before.is_none_or(|before| ride.id < before)).take(query.limit);
        Ok(page.cloned().collect())
    }

    async fn tills(&self, seller: PartyId) -> Result<Vec<Till>, StoreError> {
        let state = self.state();
        let mut tills: Vec<_> = state.tills.values().filter(|till| till.seller == seller).cloned().collect();
        tills.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(tills)
    }

    async fn sales_summary(
        &self,
        seller: PartyId,
        placed: TimeRange,
        items: usize,
    ) -> Result<SalesSummary, StoreError> {
        let state = self.state();
        let standing = state.orders.all().filter(|order| {
            order.seller == seller && order.status.stands() && placed.contains(order.placed_at)
        });
        let name =
            |item| state.items.get(&item).map_or_else(String::new, |item| item.name.as_str().to_owned());
        // As in the other back ends, whole days are summed up from the sums that are kept, and parts of days from the
        // orders that are left.
        let DayParts { days: (first, after), edges } = placed.by_days();
        let archived = || state.archived.sales.iter().filter(|(key, _)| key.seller == seller);
        let whole = archived().filter(|(key, _)| (first..after).contains(&key.day));
        let mut summary = summary::of(standing, whole, items, name);
        let edges = edges.iter().map(|edge| day_of(edge.from));
        summary.cut_days =
            edges.filter(|day| archived().any(|(key, sum)| key.day == *day && sum.orders > 0)).collect();
        Ok(summary)
    }

    async fn revenue(&self) -> Result<Vec<Sales>, StoreError> {
        let state = self.state();
        let standing = state.orders.all().filter(|order| order.status.stands());
        Ok(summary::by_currency(standing, state.archived.sales.iter()))
    }

    async fn wishlist(
        &self,
        buyer: PartyId,
        after: Option<ItemId>,
        limit: usize,
    ) -> Result<Vec<(Wish, Item)>, StoreError> {
        let state = self.state();
        let own = state.wishes.values().filter(|wish| wish.buyer == buyer);
        let page = own
            .filter(|wish| after.is_none_or(|after| wish.item > after))
            .filter_map(|wish| state.item(wish.item).map(|item| (*wish, item)))
            .filter(|(_, item)| item.is_listed());
        Ok(page.take(limit).collect())
    }

    async fn item_feed(&self, after: FeedPosition, limit: usize) -> Result<Vec<FeedEntry>, StoreError> {
        let state = self.state();
        let later = state.feed.range(FeedPosition(after.0.saturating_add(1))..).take(limit);
        let entries = later
            .filter_map(|(position, id)| state.item(*id).map(|item| FeedEntry { position: *position, item }));
        Ok(entries.collect())
    }

    async fn feed_end(&self) -> Result<FeedPosition, StoreError> {
        Ok(FeedPosition(self.state().last_feed))
    }

    async fn request(&self, party: PartyId, id: RequestId) -> Result<Option<Recorded>, StoreError> {
        Ok(self.state().requests.get(&(party, id)).map(|(recorded, _)| recorded.clone()))
    }

    async fn totals(&self) -> Result<Totals, StoreError> {
        let state = self.state();
        let items = || state.items.values();
        let standing = state.orders.all().filter(|order| order.status.stands());
        let archived = || state.archived.sales.values();
        let archived_orders = archived().map(|sum| sum.orders).sum::<i64>() + state.archived.cancelled;
        Ok(Totals {
            parties: count(state.parties.len()),
            items: count(state.items.len()),
            orders: count(state.orders.len()) + archived_orders,
            supplied: items().map(|item| item.supplied).sum(),
            sold: items().map(|item| item.sold).sum(),
            ordered: standing.map(|order| order.quantity).chain(archived().map(|sum| sum.units)).sum(),
            remaining: items().map(|item| item.quantity).sum(),
            withdrawn: items().map(|item| item.withdrawn).sum(),
            pending_deliveries: state.mailboxes.values().map(|mailbox| count(mailbox.waiting.len())).sum(),
        })
    }
}
