//! `buyer categories`: all categories that have items, or one and those below it.

use clap::Args;
use souk_cli::{CliSession, Failure, Paging, view::CategoryView};
use souk_proto::v1::ListCategoriesRequest;

/// List the categories in use
#[derive(Args)]
#[command(after_help = "Examples:\n  buyer categories\n  buyer categories home")]
pub(crate) struct Categories {
    /// Only this one and those below it.
    #[arg(default_value = "", hide_default_value = true)]
    parent: String,
    #[command(flatten)]
    paging: Paging,
}

impl Categories {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        let parent = self.parent;
        self.paging
            .pages(session, async |page_size, page_token| {
                let request = ListCategoriesRequest { parent: parent.clone(), page_size, page_token };
                let page = session.call(request).await?;
                Ok((page.categories.iter().map(CategoryView::from).collect(), page.next_page_token))
            })
            .await
    }
}
