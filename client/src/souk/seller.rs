//! SellerService, and the seller's part of RideService: items, sales, tills, rides.

use souk_proto::{
    Timestamp,
    v1::{
        CancelSaleRequest, DeleteItemRequest, DeliverSaleRequest, DisplaySellerItemsRequest, EndRideRequest,
        GetSaleRequest, Item, ItemDraft, ListRidesRequest, ListSalesRequest, ListTillsRequest, Order,
        RemoveTillRequest, Ride, SellItemRequest, ShipSaleRequest, StartRideRequest, SummarizeSalesRequest,
        SummarizeSalesResponse, Till, UndeleteItemRequest, UpdateItemRequest,
    },
};

use crate::{Connection, Error, Pages, error::required};

/// The operations of sellers, one method per RPC. Requires a seller's certificate.
///
/// Every method makes one call (see [`Connection::call`]): it is retried after transient failures, and takes
/// effect once.
///
/// # Examples
/// ```no_run
/// use souk_client::v1::{ItemDraft, Money};
///
/// # async fn sell(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
/// let lamp = ItemDraft {
///     name: Some("Desk lamp".into()),
///     category: Some("home/light".into()),
///     unit_price: Some(Money { amount_minor: 1_250, currency_code: "GBP".into() }),
///     quantity: Some(10),
///     ..ItemDraft::default()
/// };
/// let item = souk.seller().sell(lamp).await?;
/// println!("item {}", item.item_id);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Seller {
    connection: Connection,
}

impl Seller {
    /// Returns the operations over a connection that is not a [`Souk`](crate::Souk)'s, such as one with another
    /// timeout.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let patient = souk.connection().with_timeout(std::time::Duration::from_secs(60));
    /// let seller = souk_client::Seller::new(patient);
    /// seller.ship(42).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Lists an item. Name, category, price and quantity are required.
    ///
    /// # Errors
    /// Refused with [`InvalidField`](crate::Reason::InvalidField) and the fields in
    /// [`violations`](Error::violations), with [`SkuTaken`](crate::Reason::SkuTaken), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::v1::{ItemDraft, Money};
    ///
    /// # async fn sell(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let draft = ItemDraft {
    ///     name: Some("Rug".into()),
    ///     category: Some("home".into()),
    ///     unit_price: Some(Money { amount_minor: 89_00, currency_code: "EUR".into() }),
    ///     quantity: Some(1),
    ///     ..Default::default()
    /// };
    /// match souk.seller().sell(draft).await {
    ///     Ok(item) => println!("item {}", item.item_id),
    ///     Err(error) => {
    ///         for violation in error.violations() {
    ///             eprintln!("{}: {}", violation.field, violation.description);
    ///         }
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn sell(&self, item: ItemDraft) -> Result<Item, Error> {
        let request = SellItemRequest { item: Some(item), ..Default::default() };
        required(self.connection.call(request).await?.item, "item")
    }

    /// Changes the fields of an item that the draft has; the others stay.
    ///
    /// # Errors
    /// Refused with [`ItemNotFound`](crate::Reason::ItemNotFound) or
    /// [`InvalidField`](crate::Reason::InvalidField), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::v1::{ItemDraft, Money};
    ///
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let cheaper = ItemDraft {
    ///     unit_price: Some(Money { amount_minor: 999, currency_code: "GBP".into() }),
    ///     ..ItemDraft::default()
    /// };
    /// let item = souk.seller().update(7, cheaper).await?;
    /// println!("version {}", item.version);
    /// # Ok(()) }
    /// ```
    pub async fn update(&self, item_id: i64, item: ItemDraft) -> Result<Item, Error> {
        self.update_with(UpdateItemRequest { item_id, item: Some(item), ..Default::default() }).await
    }

    /// Adds units to the stock of an item, or removes some. Concurrent purchases are not affected.
    ///
    /// # Errors
    /// Refused with [`StockOutOfRange`](crate::Reason::StockOutOfRange) if the stock would become negative,
    /// or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let item = souk.seller().add_stock(7, 20).await?;
    /// println!("{} in stock", item.quantity);
    /// # Ok(()) }
    /// ```
    pub async fn add_stock(&self, item_id: i64, units: i64) -> Result<Item, Error> {
        let quantity_delta = Some(units);
        self.update_with(UpdateItemRequest { item_id, quantity_delta, ..Default::default() }).await
    }

    async fn update_with(&self, request: UpdateItemRequest) -> Result<Item, Error> {
        required(self.connection.call(request).await?.item, "item")
    }

    /// Takes an item off the market. Its orders stay, and buyers who wish for it are notified.
    ///
    /// # Errors
    /// Refused with [`ItemNotFound`](crate::Reason::ItemNotFound), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let item = souk.seller().delete(7).await?;
    /// println!("{} is off the market", item.name);
    /// # Ok(()) }
    /// ```
    pub async fn delete(&self, item_id: i64) -> Result<Item, Error> {
        let request = DeleteItemRequest { item_id, ..Default::default() };
        required(self.connection.call(request).await?.item, "item")
    }

    /// Puts a withdrawn item back on sale, with this stock.
    ///
    /// # Errors
    /// Refused with [`ItemNotFound`](crate::Reason::ItemNotFound), [`InvalidField`](crate::Reason::InvalidField) if the
    /// item is on sale, or [`SkuTaken`](crate::Reason::SkuTaken); or the call failed.
    pub async fn undelete(&self, item_id: i64, quantity: i64) -> Result<Item, Error> {
        let request = UndeleteItemRequest { item_id, quantity, ..Default::default() };
        required(self.connection.call(request).await?.item, "item")
    }

    /// Returns the seller's items, ordered by id.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// for item in souk.seller().items().all().await? {
    ///     println!("{}: {}, {} in stock", item.item_id, item.name, item.quantity);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn items(&self) -> Pages<Item> {
        Pages::new(self.connection.clone(), DisplaySellerItemsRequest::default())
    }

    /// Returns the orders of the seller's items, the latest first.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// if let Some(latest) = souk.seller().sales().next().await {
    ///     println!("latest: {}", latest?.item_name);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn sales(&self) -> Pages<Order> {
        self.sales_where(ListSalesRequest::default())
    }

    /// Returns those orders that a request selects, by status, item or time.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::v1::{ListSalesRequest, OrderStatus};
    ///
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let to_ship = ListSalesRequest { status: OrderStatus::Placed.into(), ..Default::default() };
    /// let mut orders = souk.seller().sales_where(to_ship);
    /// while let Some(order) = orders.next().await {
    ///     println!("order {} awaits shipping", order?.order_id);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn sales_where(&self, request: ListSalesRequest) -> Pages<Order> {
        Pages::new(self.connection.clone(), request)
    }

    /// Returns one order of the seller's items, as it is now.
    ///
    /// # Errors
    /// Refused with [`OrderNotFound`](crate::Reason::OrderNotFound), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let order = souk.seller().sale(42).await?;
    /// println!("{:?}", order.status());
    /// # Ok(()) }
    /// ```
    pub async fn sale(&self, order_id: i64) -> Result<Order, Error> {
        required(self.connection.call(GetSaleRequest { order_id }).await?.order, "order")
    }

    /// Sums up the orders in a time range that were not cancelled, by day and by item. `until` is exclusive.
    ///
    /// # Errors
    /// Refused with [`InvalidField`](crate::Reason::InvalidField) if the range is too long, or the call
    /// failed.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::Timestamp;
    ///
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let midnight = |seconds| Timestamp { seconds, nanos: 0 };
    /// let (monday, next_monday) = (midnight(1_767_571_200), midnight(1_768_176_000));
    /// let summary = souk.seller().summarize_sales(monday, next_monday).await?;
    /// for day in summary.days {
    ///     println!("{} orders", day.order_count);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn summarize_sales(
        &self,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<SummarizeSalesResponse, Error> {
        let request = SummarizeSalesRequest { from_time: Some(from), until_time: Some(until), item_limit: 0 };
        self.connection.call(request).await
    }

    /// Marks an order as shipped; an event notifies its buyer.
    ///
    /// # Errors
    /// Refused with [`OrderStatusConflict`](crate::Reason::OrderStatusConflict) if it can't be shipped now, or the call
    /// failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let order = souk.seller().ship(42).await?;
    /// println!("on its way to {}", order.buyer_name);
    /// # Ok(()) }
    /// ```
    pub async fn ship(&self, order_id: i64) -> Result<Order, Error> {
        let request = ShipSaleRequest { order_id, ..Default::default() };
        required(self.connection.call(request).await?.order, "order")
    }

    /// Marks a shipped order as delivered; an event notifies its buyer.
    ///
    /// # Errors
    /// As [`ship`](Self::ship).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// souk.seller().ship(42).await?;
    /// souk.seller().deliver(42).await?;
    /// # Ok(()) }
    /// ```
    pub async fn deliver(&self, order_id: i64) -> Result<Order, Error> {
        let request = DeliverSaleRequest { order_id, ..Default::default() };
        required(self.connection.call(request).await?.order, "order")
    }

    /// Cancels an order that was not shipped yet. Its units go back into stock, and the reason is shown to
    /// its buyer.
    ///
    /// # Errors
    /// As [`ship`](Self::ship).
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// souk.seller().cancel(42, "broken in the warehouse").await?;
    /// # Ok(()) }
    /// ```
    pub async fn cancel(&self, order_id: i64, reason: impl Into<String>) -> Result<Order, Error> {
        let request = CancelSaleRequest { order_id, reason: reason.into(), ..Default::default() };
        required(self.connection.call(request).await?.order, "order")
    }

    /// Returns the seller's tills (see [`Souk::till`](crate::Souk::till)).
    ///
    /// # Errors
    /// The call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// for till in souk.seller().tills().await? {
    ///     println!("{}: {} lines, {} events pending", till.name, till.last_line, till.pending_count);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn tills(&self) -> Result<Vec<Till>, Error> {
        Ok(self.connection.call(ListTillsRequest {}).await?.tills)
    }

    /// Removes a till and its count of lines.
    ///
    /// # Errors
    /// Refused with [`TillNotFound`](crate::Reason::TillNotFound), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// souk.seller().remove_till("market stall").await?;
    /// # Ok(()) }
    /// ```
    pub async fn remove_till(&self, name: impl Into<String>) -> Result<(), Error> {
        self.connection.call(RemoveTillRequest { till: name.into(), ..Default::default() }).await?;
        Ok(())
    }

    /// Starts a ride: its orders are shipped, and their buyers can watch where it is.
    ///
    /// # Errors
    /// Refused with [`OrderStatusConflict`](crate::Reason::OrderStatusConflict) for an order that can't be shipped now,
    /// or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::v1::{Location, RideKind, RideStop, StartRideRequest};
    ///
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let stop = RideStop { order_id: 42, destination: Some(Location { latitude: 51.5, longitude: -0.1 }) };
    /// let request = StartRideRequest {
    ///     kind: RideKind::Regular.into(),
    ///     vehicle: "bicycle".into(),
    ///     stops: vec![stop],
    ///     ..Default::default()
    /// };
    /// let ride = souk.seller().start_ride(request).await?;
    /// println!("ride {}", ride.ride_id);
    /// # Ok(()) }
    /// ```
    pub async fn start_ride(&self, request: StartRideRequest) -> Result<Ride, Error> {
        required(self.connection.call(request).await?.ride, "ride")
    }

    /// Returns the seller's rides, the latest first.
    pub fn rides(&self) -> Pages<Ride> {
        Pages::new(self.connection.clone(), ListRidesRequest::default())
    }

    /// Ends a ride; orders still on it count as delivered.
    ///
    /// # Errors
    /// Refused with [`RideNotFound`](crate::Reason::RideNotFound) or [`RideEnded`](crate::Reason::RideEnded), or the
    /// call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk, request: souk_client::v1::StartRideRequest) -> Result<(), souk_client::Error> {
    /// let ride = souk.seller().start_ride(request).await?;
    /// souk.seller().end_ride(ride.ride_id).await?;
    /// # Ok(()) }
    /// ```
    pub async fn end_ride(&self, ride_id: impl Into<String>) -> Result<Ride, Error> {
        let request = EndRideRequest { ride_id: ride_id.into(), ..Default::default() };
        required(self.connection.call(request).await?.ride, "ride")
    }
}
