//! Completion: of commands, of the flags of the command that is being typed, and of what the market or this machine has.

use souk_certs::identity::Role;
use souk_testkit::actor::{Actor, draft};

use super::{PROMPT, WIDTHS, keep_transcript, shell, shop};

#[tokio::test(flavor = "multi_thread")]
async fn values_are_completed_by_what_the_command_needs() {
    for columns in WIDTHS {
        let (market, _bob, lamp, terminal) = shop().await;
        let alice = Actor::enter(&market, Role::Seller, "alice").await.expect("connected");
        let desk = alice.sell(draft("Desk lamp", "home/desk", 2_400, 3)).await.expect("listed").item_id;
        let party = market.identity(Role::Seller, "alice").await.expect("a certificate");
        ["home", "hall"].iter().for_each(|name| terminal.add_context(name, &party, false));
        let mut screen = shell(columns, &terminal).await;
        let clear = "\u{15}";

        screen.press("sal\t").await;
        screen.until(|text| text.ends_with("seller> sales")).await;
        screen.press("--sta\t").await;
        screen.until(|text| text.ends_with("seller> sales --status")).await;
        screen.press("\t").await;
        let statuses = screen
            .until(|text| ["placed", "shipped", "delivered", "cancelled"].iter().all(|s| text.contains(s)))
            .await;
        screen.press("pl\t").await;
        screen.until(|text| text.contains("seller> sales --status placed")).await;
        screen.press(&format!("{clear}delete --\t")).await;
        let flags = screen.until(|text| text.contains("--expect-version")).await;
        assert!(!flags.contains("--market") && !flags.contains("--from"), "only this command's: {flags}");

        // Ids, with the names that they stand for.
        screen.press(&format!("{clear}delete \t")).await;
        let ids = screen.until(|text| text.contains("Brass lantern") && text.contains("Desk lamp")).await;
        screen.press("desk").await;
        screen.until(|text| !text.contains("Brass lantern")).await;
        screen.press("\t").await;
        screen.until(|text| text.contains(&format!("seller> delete {desk}"))).await;
        screen.press(&format!("{clear}update lant\t")).await;
        screen.until(|text| text.contains(&format!("seller> update {lamp}"))).await;
        screen.press(&format!("{clear}sell --category home/l\t")).await;
        screen.until(|text| text.contains("seller> sell --category home/light")).await;
        screen.press(&format!("{clear}context use ho\t")).await;
        screen.until(|text| text.contains("seller> context use home")).await;
        screen.press("\u{3}").await;
        screen.until(|text| text.ends_with(PROMPT)).await;
        keep_transcript("completion", columns, &format!("{statuses}\n\n{flags}\n\n{ids}"));
    }
}
