//! PostgreSQL's full-text search, on the server that `bench compare --store postgres` starts too.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use futures::SinkExt as _;
use souk_testkit::database::DatabaseServer;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls, Statement, types::ToSql};

use super::statements::{Parameter, Statements, calls};
use crate::{database::SETTINGS, made_up::Catalogue, search::asked::Asked};

const STATEMENTS: Statements = Statements::of(include_str!("../../../sql/postgres.sql"));
/// Items that are sent at a time while it is filled.
const ROWS_AT_ONCE: u64 = 1_000;

/// The server and a connection to it.
pub(in crate::search) struct Postgres {
    client: Client,
    /// Prepared, by name.
    statements: HashMap<String, Statement>,
    items: u64,
    connection: JoinHandle<()>,
    _server: DatabaseServer,
}

impl Postgres {
    pub(super) async fn fill(catalogue: &Catalogue, items: u64) -> anyhow::Result<(Self, Duration)> {
        let server = DatabaseServer::start(&SETTINGS)?;
        server.psql("postgres", "CREATE DATABASE peer TEMPLATE template0").map_err(anyhow::Error::msg)?;
        let (client, connection) = tokio_postgres::connect(&server.address("peer", None), NoTls).await?;
        let connection = tokio::spawn(async move {
            if let Err(error) = connection.await {
                eprintln!("the connection to PostgreSQL ended: {error}");
            }
        });
        client.batch_execute(STATEMENTS.named("schema")?).await?;
        let mut sink = Box::pin(client.copy_in(STATEMENTS.named("put")?.trim_end_matches(';')).await?);
        for first in (0..items).step_by(usize::try_from(ROWS_AT_ONCE)?) {
            let rows: String =
                (first..items.min(first + ROWS_AT_ONCE)).map(|id| line(catalogue, id)).collect();
            sink.send(Bytes::from(rows)).await?;
        }
        sink.close().await?;
        let began = Instant::now();
        client.batch_execute(STATEMENTS.named("build")?).await?;
        let took = began.elapsed();
        for statement in STATEMENTS.named("indexes")?.split_inclusive(';') {
            // One at a time: a vacuum can't be part of a batch.
            client.batch_execute(statement).await?;
        }
        Ok((Self { client, statements: HashMap::new(), items, connection, _server: server }, took))
    }

    /// Searches, and reads the results. Returns whether it can search like this.
    pub(super) async fn search(&mut self, asked: &Asked) -> anyhow::Result<bool> {
        let calls = calls(asked, words, self.items, true).context("every search is possible")?;
        for (name, parameters) in calls {
            let parameters: Vec<&(dyn ToSql + Sync)> = parameters
                .iter()
                .map(|parameter| match parameter {
                    Parameter::Text(text) => text as &(dyn ToSql + Sync),
                    Parameter::Number(number) => number,
                })
                .collect();
            if !self.statements.contains_key(&name) {
                let prepared = self.client.prepare(STATEMENTS.named(&name)?).await?;
                self.statements.insert(name.clone(), prepared);
            }
            self.client.query(&self.statements[&name], &parameters).await?;
        }
        Ok(true)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Returns an item in the text format of COPY. Made-up texts need no escapes.
fn line(catalogue: &Catalogue, number: u64) -> String {
    let item = catalogue.item(number);
    format!("{number}\t{}\t{}\t{}\t{}\n", item.name, item.description, item.category, item.price_minor)
}

/// Returns the words in the syntax of `to_tsquery`.
fn words(asked: &Asked) -> String {
    asked.text.replace(' ', " & ") + if asked.is_beginning { ":*" } else { "" }
}
