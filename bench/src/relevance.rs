//! `bench relevance`: how well the search does on queries whose results were judged by hand.

use clap::{Args, builder::PossibleValuesParser};
use souk_relevance::KINDS;

/// Answer the judged queries, and print how good the results are by kind
///
/// The queries and their judgements are in market/search/tests/relevance.
#[derive(Args)]
pub(crate) struct RelevanceArgs {
    /// Answer only the queries of this kind.
    #[arg(long, value_parser = PossibleValuesParser::new(KINDS.map(|(kind, _)| kind)))]
    kind: Option<String>,
    /// List the queries that are not answered well, with what they find and what is missing.
    #[arg(long)]
    misses: bool,
}

pub(crate) async fn run(args: RelevanceArgs) -> anyhow::Result<()> {
    let answers = souk_relevance::answers(args.kind.as_deref()).await?;
    print!("{}", souk_relevance::table(&answers));
    if args.misses {
        print!("{}", souk_relevance::misses(&answers));
    }
    print!("\n{}", souk_relevance::verdicts(&answers));
    Ok(())
}
