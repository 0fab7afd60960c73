//! `seller ride list`, and rides that are named by the beginning of their ids.

use clap::Args;
use souk_cli::{CliSession, Failure, Paging, exit, view::RideRow};
use souk_proto::v1::ListRidesRequest;

/// The length of a ride's id: that of a UUID with its hyphens, and without.
const WHOLE: [usize; 2] = [36, 32];
/// How many rides of the same beginning are named in a message.
const NAMED: usize = 5;

/// List your rides, latest first
///
/// The beginning of an id that is shown here is enough for `ride track` and `ride end`; JSON has the whole one.
#[derive(Args)]
#[command(after_help = "Example:\n  seller ride list")]
pub(crate) struct List {
    #[command(flatten)]
    paging: Paging,
}

impl List {
    pub(super) async fn run(self, session: &CliSession) -> Result<(), Failure> {
        self.paging
            .pages(session, async |page_size, page_token| {
                let request = ListRidesRequest { page_size, page_token, ..Default::default() };
                let page = session.call(request).await?;
                Ok((RideRow::all(&page.rides), page.next_page_token))
            })
            .await
    }
}

/// Returns the whole id of the caller's ride whose id begins with this text.
///
/// # Errors
/// There is no such ride, or more than one.
pub(super) async fn whole_id(session: &CliSession, beginning: String) -> Result<String, Failure> {
    // A whole id is not looked up: the market does that, and it may not know ListRides yet.
    if WHOLE.contains(&beginning.len()) {
        return Ok(beginning);
    }
    let page_size = i32::try_from(NAMED + 1).unwrap_or(i32::MAX);
    let request = ListRidesRequest { page_size, ride_id_prefix: beginning.clone(), ..Default::default() };
    let found = session.call(request).await?.rides;
    match found.as_slice() {
        [ride] => Ok(ride.ride_id.clone()),
        [] => Err(Failure::undone(
            format!("no ride of yours has an id that begins with {beginning:?}"),
            Some("`seller ride list` shows them"),
            exit::NOT_FOUND,
        )),
        several => {
            let ids = RideRow::all(several);
            let ids: Vec<_> = ids.iter().take(NAMED).map(RideRow::short_id).collect();
            let more = if several.len() > NAMED { ", …" } else { "" };
            Err(Failure::usage(
                format!("the ids of several rides begin with {beginning:?}: {}{more}", ids.join(", ")),
                "give more of the id",
            ))
        }
    }
}

/// Returns a prefix of a ride's id that no other ride of the caller has; the whole id if the rides can't be listed.
pub(super) async fn short_id(session: &CliSession, ride_id: &str) -> String {
    let Some(beginning) = ride_id.get(..8) else { return ride_id.to_owned() };
    let request = ListRidesRequest { ride_id_prefix: beginning.to_owned(), ..Default::default() };
    let rides = session.call(request).await.map(|page| page.rides).unwrap_or_default();
    let rows = RideRow::all(&rides);
    let found = rows.iter().zip(&rides).find(|(_, ride)| ride.ride_id == ride_id);
    found.map_or(ride_id, |(row, _)| row.short_id()).to_owned()
}
