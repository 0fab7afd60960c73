//! Checks that the statements of the hot path use their indexes: none scans a whole table or index, even
//! when it is planned for empty tables without statistics, as on the first day of a market.

use souk_testkit::{database::DatabaseServer, postgres::is_there};

use super::{
    address::SESSION, backlog, consumers, dead_letters, expand, mailboxes, ranking, reads, schema, settle,
    statements,
};

/// Returns the server's generic plan of a statement, one line for each step.
fn plan(server: &DatabaseServer, sql: &str) -> String {
    let count = (1..).take_while(|number| sql.contains(&format!("${number}"))).count();
    let nothing = if count == 0 { String::new() } else { format!("({})", vec!["NULL"; count].join(", ")) };
    let script =
        format!("SET plan_cache_mode = force_generic_plan; PREPARE it AS {sql}; EXPLAIN EXECUTE it{nothing}");
    let mut psql = server.program("psql");
    psql.env("PGOPTIONS", SESSION).args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
    let output = psql.args(["--set=ON_ERROR_STOP=1", "--dbname=souk", "-c", &script]).output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the step of a plan that scans a whole table or index, if there is one.
fn offence(plan: &str) -> Option<&str> {
    let lines: Vec<&str> = plan.lines().collect();
    let mut steps = lines.iter().enumerate().filter(|(_, line)| line.contains("Scan"));
    let is_whole = |(at, line): &(usize, &&str)| {
        // A table of one row, and partial indexes that contain only pending work.
        let is_short = ["place_base", "mailbox_due", "mailbox_to_empty", "event_to_expand"]
            .iter()
            .any(|name| line.contains(name));
        let is_whole_table = line.contains("Seq Scan on ");
        let is_of_index = ["Index Scan using", "Index Only Scan", "Bitmap Index Scan"];
        let is_bounded = lines.get(at + 1).is_some_and(|next| next.trim_start().starts_with("Index Cond:"));
        !is_short && (is_whole_table || (is_of_index.iter().any(|kind| line.contains(kind)) && !is_bounded))
    };
    steps.find(is_whole).map(|(_, line)| line.trim())
}

#[test]
fn no_statement_of_the_hot_path_scans_a_whole_table() {
    if !is_there() {
        return;
    }
    let server = DatabaseServer::start(&["fsync = off"]).unwrap();
    server.psql("postgres", "CREATE DATABASE souk TEMPLATE template0 ENCODING UTF8").unwrap();
    for migration in schema::all() {
        server.psql("souk", migration).unwrap();
    }
    let held =
        [statements::HELD_RIDES, statements::HELD_TILLS, statements::HELD_ORDERS, statements::HELD_ITEMS];
    let all = statements::LANE.iter().chain(reads::HOT).chain(mailboxes::HOT);
    let all = all
        .chain(mailboxes::PLANNED)
        .chain(consumers::HOT)
        .chain(consumers::PLANNED)
        .chain(dead_letters::PLANNED);
    let all = all
        .chain(settle::PLANNED)
        .chain(expand::PLANNED)
        .chain(backlog::PLANNED)
        .chain(ranking::PLANNED)
        .chain(&held);
    let offences: Vec<_> = all
        .filter_map(|sql| {
            let plan = plan(&server, sql);
            offence(&plan).map(|step| format!("{step}: {sql}\n{plan}"))
        })
        .collect();
    assert!(offences.is_empty(), "\n{}\n", offences.join("\n"));
    // It reads the tables that are summed up, but of the orders only the cancelled ones.
    let totals = plan(&server, reads::TOTALS);
    let mut of_orders = totals.lines().filter(|line| line.contains(" on orders"));
    assert!(of_orders.all(|line| line.contains("order_cancelled")), "{totals}");
    let whole = plan(&server, "SELECT id FROM item WHERE quantity > $1");
    assert!(offence(&whole).is_some(), "a plan that reads all of a table is not found:\n{whole}");
}
