//! Paginated lists as streams of rows.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use futures::{
    StreamExt as _, TryStreamExt as _,
    stream::{self, BoxStream, Stream},
};
use souk_proto::{
    Unary,
    v1::{
        CategoryCount, DisplaySellerItemsRequest, Item, ListCategoriesRequest, ListOrdersRequest,
        ListPartiesRequest, ListRidesRequest, ListSalesRequest, ListWishlistRequest, Order, PartyRecord,
        Ride, SearchItemRequest, Wish,
    },
};

use crate::{Connection, Error};

/// A request that returns one page of a list (AIP-158).
pub trait Paged: Unary {
    /// The type of the list's rows.
    type Row: Send + 'static;

    /// Returns the request's page token, which is empty for the first page.
    fn page_token_mut(&mut self) -> &mut String;

    /// Splits an answer into its rows and the token of the next page, which is empty on the last one.
    fn rows(answer: Self::Response) -> (Vec<Self::Row>, String);
}

macro_rules! paged {
    ($($request:ident: $row:ident in $rows:ident;)+) => {$(
        impl Paged for $request {
            type Row = $row;

            fn page_token_mut(&mut self) -> &mut String {
                &mut self.page_token
            }

            fn rows(answer: Self::Response) -> (Vec<$row>, String) {
                (answer.$rows, answer.next_page_token)
            }
        }
    )+};
}

paged! {
    DisplaySellerItemsRequest: Item in items;
    ListCategoriesRequest: CategoryCount in categories;
    ListOrdersRequest: Order in orders;
    ListPartiesRequest: PartyRecord in parties;
    ListRidesRequest: Ride in rides;
    ListSalesRequest: Order in orders;
    ListWishlistRequest: Wish in wishes;
    SearchItemRequest: Item in items;
}

/// The rows of a list, across all of its pages. A page is fetched when the rows before it have been taken.
///
/// If the list changes meanwhile, a row may be missing or appear twice. After an error the stream ends.
///
/// # Examples
/// ```no_run
/// # async fn list(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
/// let mut orders = souk.buyer().orders();
/// while let Some(order) = orders.next().await {
///     println!("{}", order?.item_name);
/// }
/// # Ok(()) }
/// ```
#[must_use = "nothing is fetched before the first row is asked for"]
pub struct Pages<T> {
    rows: BoxStream<'static, Result<T, Error>>,
}

impl<T: Send + 'static> Pages<T> {
    /// Creates a stream of the rows from the page that the request names to the end of the list.
    pub fn new<R: Paged<Row = T>>(connection: Connection, request: R) -> Self {
        let pages = stream::try_unfold(Some(request), move |request| {
            let connection = connection.clone();
            async move {
                let Some(mut request) = request else { return Ok::<_, Error>(None) };
                let (rows, next) = R::rows(connection.call(request.clone()).await?);
                let rest = (!next.is_empty()).then(|| {
                    *request.page_token_mut() = next;
                    request
                });
                Ok(Some((stream::iter(rows.into_iter().map(Ok)), rest)))
            }
        });
        Self { rows: pages.try_flatten().boxed() }
    }

    /// Returns the next row; `None` at the end of the list.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        self.rows.next().await
    }

    /// Collects all rows. Mind the memory: a market may have a million items.
    ///
    /// # Errors
    /// A page could not be fetched.
    pub async fn all(self) -> Result<Vec<T>, Error> {
        self.rows.try_collect().await
    }
}

impl<T> Stream for Pages<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.rows.poll_next_unpin(context)
    }
}
