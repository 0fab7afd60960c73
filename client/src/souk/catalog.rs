//! CatalogService: search, single items and categories.

use souk_proto::v1::{
    CategoryCount, GetItemRequest, Item, ListCategoriesRequest, SearchItemRequest, SearchItemResponse,
};

use crate::{Connection, Error, Pages, error::required};

/// The search for items, for sellers and buyers alike.
///
/// # Examples
/// ```no_run
/// # async fn search(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
/// let mut lamps = souk.catalog().search("lamp");
/// while let Some(item) = lamps.next().await {
///     println!("{}", item?.name);
/// }
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Catalog {
    connection: Connection,
}

impl Catalog {
    /// Returns the operations over a connection that is not a [`Souk`](crate::Souk)'s, such as one with another
    /// timeout.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let patient = souk.connection().with_timeout(std::time::Duration::from_secs(60));
    /// let catalog = souk_client::Catalog::new(patient);
    /// let item = catalog.item(7).await?;
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Returns items that match some words, best match first. Typos are forgiven.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let mut lamps = souk.catalog().search("brass lamp");
    /// if let Some(best) = lamps.next().await {
    ///     println!("{}", best?.name);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn search(&self, words: impl Into<String>) -> Pages<Item> {
        self.search_where(SearchItemRequest { query: words.into(), ..Default::default() })
    }

    /// Returns items that a request selects by words, category, price, rating, seller and stock.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::v1::SearchItemRequest;
    ///
    /// # async fn search(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let request = SearchItemRequest { category: "home".into(), in_stock: true, ..Default::default() };
    /// let items = souk.catalog().search_where(request).all().await?;
    /// # Ok(()) }
    /// ```
    pub fn search_where(&self, request: SearchItemRequest) -> Pages<Item> {
        Pages::new(self.connection.clone(), request)
    }

    /// Returns one page of a search, with the number of all matches and their categories.
    ///
    /// # Errors
    /// Refused with [`InvalidField`](crate::Reason::InvalidField), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// use souk_client::v1::SearchItemRequest;
    ///
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let request = SearchItemRequest { query: "lamp".into(), page_size: 20, ..Default::default() };
    /// let page = souk.catalog().search_page(request).await?;
    /// println!("{} of {} items", page.items.len(), page.total_size);
    /// # Ok(()) }
    /// ```
    pub async fn search_page(&self, request: SearchItemRequest) -> Result<SearchItemResponse, Error> {
        self.connection.call(request).await
    }

    /// Returns an item, as it is now.
    ///
    /// # Errors
    /// Refused with [`ItemNotFound`](crate::Reason::ItemNotFound), or the call failed.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// let item = souk.catalog().item(7).await?;
    /// println!("{} by {}: {} left", item.name, item.seller_name, item.quantity);
    /// # Ok(()) }
    /// ```
    pub async fn item(&self, item_id: i64) -> Result<Item, Error> {
        required(self.connection.call(GetItemRequest { item_id }).await?.item, "item")
    }

    /// Returns `parent` and the categories below it, ordered by path, each with the number of items in it. An
    /// empty `parent` returns all categories.
    ///
    /// # Examples
    /// ```no_run
    /// # async fn example(souk: souk_client::Souk) -> Result<(), souk_client::Error> {
    /// for category in souk.catalog().categories("home").all().await? {
    ///     println!("{}: {} items", category.category, category.item_count);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn categories(&self, parent: impl Into<String>) -> Pages<CategoryCount> {
        let request = ListCategoriesRequest { parent: parent.into(), ..Default::default() };
        Pages::new(self.connection.clone(), request)
    }
}
