//! BuyerService: purchases, orders, the wishlist and ratings.

use souk_proto::v1::{
    AddToWishlistRequest, BuyItemRequest, CancelOrderRequest, GetOrderRequest, ListOrdersRequest,
    ListWishlistRequest, Money, Order, OrderLine, PlaceOrderRequest, RateItemRequest, RatingSummary,
    RemoveFromWishlistRequest, Wish,
};

use crate::{Connection, Error, Pages, error::required};

/// The operations of buyers, one method per RPC. Requires a buyer's certificate.
///
/// Every method makes one call (see [`Connection::call`]): it is retried after transient failures, and takes
/// effect once.
///
/// # Examples
/// ```no_run
/// # async fn buy(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
/// let buyer = souk.buyer();
/// let order = buyer.buy(7, 2).await?;
/// buyer.rate(7, 5).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Buyer {
    connection: Connection,
}

impl Buyer {
    /// Returns the operations over a connection that is not a [`Souk`](crate::Souk)'s, such as one with another
    /// timeout.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let patient = souk.connection().with_timeout(std::time::Duration::from_secs(60));
    /// let buyer = souk_client::Buyer::new(patient);
    /// buyer.buy(7, 2).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Buys units of an item at its current price.
    ///
    /// # Errors
    /// Refused with [`OutOfStock`](crate::Reason::OutOfStock) if there are fewer units left, with
    /// [`ItemNotFound`](crate::Reason::ItemNotFound) if there is no such item, or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn buy(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let order = souk.buyer().buy(7, 2).await?;
    /// assert_eq!(order.quantity, 2);
    /// # Ok(()) }
    /// ```
    pub async fn buy(&self, item_id: i64, quantity: i64) -> Result<Order, Error> {
        self.buy_with(BuyItemRequest { item_id, quantity, ..Default::default() }).await
    }

    /// Buys units of an item if one still costs `unit_price`.
    ///
    /// # Errors
    /// Refused with [`PriceChanged`](crate::Reason::PriceChanged) if the price differs; else as [`buy`](Self::buy).
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::{Reason, v1::Money};
    ///
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let shown = Money { amount_minor: 1_250, currency_code: "GBP".into() };
    /// match souk.buyer().buy_at(7, 1, shown).await {
    ///     Err(error) if error.reason() == Some(Reason::PriceChanged) => println!("ask the user again"),
    ///     bought => println!("order {}", bought?.order_id),
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn buy_at(&self, item_id: i64, quantity: i64, unit_price: Money) -> Result<Order, Error> {
        let expected_unit_price = Some(unit_price);
        self.buy_with(BuyItemRequest { item_id, quantity, expected_unit_price, ..Default::default() }).await
    }

    async fn buy_with(&self, request: BuyItemRequest) -> Result<Order, Error> {
        required(self.connection.call(request).await?.order, "order")
    }

    /// Buys several items at once; either all lines succeed or none.
    ///
    /// # Errors
    /// As [`buy`](Self::buy), for any of the lines.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::v1::OrderLine;
    ///
    /// # async fn place(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let lines = [(7, 1), (8, 2)]
    ///     .map(|(item_id, quantity)| OrderLine { item_id, quantity, expected_unit_price: None });
    /// let orders = souk.buyer().place(lines).await?;
    /// assert_eq!(orders.len(), 2);
    /// # Ok(()) }
    /// ```
    pub async fn place(&self, lines: impl IntoIterator<Item = OrderLine>) -> Result<Vec<Order>, Error> {
        let request = PlaceOrderRequest { lines: lines.into_iter().collect(), ..Default::default() };
        Ok(self.connection.call(request).await?.orders)
    }

    /// Returns the buyer's orders, the latest first.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// for order in souk.buyer().orders().all().await? {
    ///     println!("{}: {} × {}", order.order_id, order.quantity, order.item_name);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn orders(&self) -> Pages<Order> {
        self.orders_where(ListOrdersRequest::default())
    }

    /// Returns those of the buyer's orders that a request selects, by status, item or time.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::v1::{ListOrdersRequest, OrderStatus};
    ///
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let under_way = ListOrdersRequest { status: OrderStatus::Shipped.into(), ..Default::default() };
    /// let orders = souk.buyer().orders_where(under_way).all().await?;
    /// println!("{} parcels are on their way", orders.len());
    /// # Ok(()) }
    /// ```
    pub fn orders_where(&self, request: ListOrdersRequest) -> Pages<Order> {
        Pages::new(self.connection.clone(), request)
    }

    /// Returns one of the buyer's orders, as it is now.
    ///
    /// # Errors
    /// Refused with [`OrderNotFound`](crate::Reason::OrderNotFound), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let order = souk.buyer().order(42).await?;
    /// println!("{:?}", order.status());
    /// # Ok(()) }
    /// ```
    pub async fn order(&self, order_id: i64) -> Result<Order, Error> {
        required(self.connection.call(GetOrderRequest { order_id }).await?.order, "order")
    }

    /// Cancels an order that was not shipped yet; its units go back into stock. If it was the buyer's last order of the
    /// item that stood, the buyer's rating of the item is withdrawn.
    ///
    /// # Errors
    /// Refused with [`NotCancellable`](crate::Reason::NotCancellable) if it is too late, or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::Reason;
    ///
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// match souk.buyer().cancel(42).await {
    ///     Err(error) if error.reason() == Some(Reason::NotCancellable) => println!("it was shipped"),
    ///     cancelled => println!("{:?}", cancelled?.status()),
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn cancel(&self, order_id: i64) -> Result<Order, Error> {
        let request = CancelOrderRequest { order_id, ..Default::default() };
        required(self.connection.call(request).await?.order, "order")
    }

    /// Puts an item on the wishlist: from then on an event reports each of its changes.
    ///
    /// # Errors
    /// Refused with [`ItemNotFound`](crate::Reason::ItemNotFound), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// souk.buyer().wish(7).await?;
    /// if let Some(delivery) = souk.events().next().await {
    ///     println!("{:?}", delivery?.take().kind);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn wish(&self, item_id: i64) -> Result<Wish, Error> {
        let request = AddToWishlistRequest { item_id, ..Default::default() };
        required(self.connection.call(request).await?.wish, "wish")
    }

    /// Takes an item off the wishlist.
    ///
    /// # Errors
    /// Refused with [`WishNotFound`](crate::Reason::WishNotFound), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// souk.buyer().unwish(7).await?;
    /// # Ok(()) }
    /// ```
    pub async fn unwish(&self, item_id: i64) -> Result<(), Error> {
        self.connection.call(RemoveFromWishlistRequest { item_id, ..Default::default() }).await?;
        Ok(())
    }

    /// Returns the items on the wishlist.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// for wish in souk.buyer().wishes().all().await? {
    ///     println!("{:?}", wish.item);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn wishes(&self) -> Pages<Wish> {
        Pages::new(self.connection.clone(), ListWishlistRequest::default())
    }

    /// Rates an item that the buyer has bought, with 1 to 5 stars. Returns the item's rating summary,
    /// including the new rating.
    ///
    /// # Errors
    /// Refused with [`NotPurchased`](crate::Reason::NotPurchased) or [`AlreadyRated`](crate::Reason::AlreadyRated), or
    /// the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let rating = souk.buyer().rate(7, 5).await?;
    /// println!("{:.1} stars from {} buyers", rating.mean, rating.count);
    /// # Ok(()) }
    /// ```
    pub async fn rate(&self, item_id: i64, stars: i32) -> Result<RatingSummary, Error> {
        self.rate_with(RateItemRequest { item_id, stars, ..Default::default() }).await
    }

    /// Rates an item, or replaces the buyer's earlier rating of it.
    ///
    /// # Errors
    /// Refused with [`NotPurchased`](crate::Reason::NotPurchased), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// souk.buyer().rate(7, 5).await?;
    /// souk.buyer().rate_again(7, 2).await?;
    /// # Ok(()) }
    /// ```
    pub async fn rate_again(&self, item_id: i64, stars: i32) -> Result<RatingSummary, Error> {
        self.rate_with(RateItemRequest { item_id, stars, update_existing: true, ..Default::default() }).await
    }

    async fn rate_with(&self, request: RateItemRequest) -> Result<RatingSummary, Error> {
        required(self.connection.call(request).await?.rating, "rating")
    }
}
