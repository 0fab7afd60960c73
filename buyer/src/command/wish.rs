//! `buyer wish`: adds to, removes from and shows the buyer's wishlist.

use clap::Subcommand;
use souk_cli::{CliSession, Failure, Paging, view::WishView};
use souk_client::error::required;
use souk_proto::v1::{AddToWishlistRequest, ListWishlistRequest, RemoveFromWishlistRequest};

/// Your wishlist: you are notified when an item on it changes
#[derive(Subcommand)]
pub(crate) enum Wish {
    /// Put an item on your wishlist
    #[command(after_help = "Example:\n  buyer wish add 7")]
    Add {
        /// The item's id, as `search` shows it.
        item: i64,
    },
    /// Take an item off your wishlist
    #[command(after_help = "Example:\n  buyer wish rm 7")]
    Rm {
        /// The item's id, as `wish list` shows it.
        item: i64,
    },
    /// List the items on your wishlist
    #[command(after_help = "Example:\n  buyer wish list")]
    List {
        #[command(flatten)]
        paging: Paging,
    },
}

impl Wish {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        match self {
            Self::Add { item } => add(session, item).await,
            Self::Rm { item } => remove(session, item).await,
            Self::List { paging } => list(session, &paging).await,
        }
    }
}

async fn add(session: &CliSession, item_id: i64) -> Result<(), Failure> {
    session.printer().expects::<WishView>()?;
    let request = AddToWishlistRequest { item_id, ..Default::default() };
    let added = session.call(request).await?;
    session.printer().one(&WishView::from(&required(added.wish, "wish")?))
}

async fn remove(session: &CliSession, item_id: i64) -> Result<(), Failure> {
    let request = RemoveFromWishlistRequest { item_id, ..Default::default() };
    session.call(request).await?;
    session.printer().say(&format!("item {item_id} is off your wishlist"));
    Ok(())
}

async fn list(session: &CliSession, paging: &Paging) -> Result<(), Failure> {
    paging
        .pages(session, async |page_size, page_token| {
            let request = ListWishlistRequest { page_size, page_token };
            let page = session.call(request).await?;
            Ok((page.wishes.iter().map(WishView::from).collect(), page.next_page_token))
        })
        .await
}
