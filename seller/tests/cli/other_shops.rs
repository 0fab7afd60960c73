//! Files in the form in which other shops export their products.

use std::path::Path;

use serde_json::{Value, json};
use souk_testkit::terminal::{Ran, Terminal};

use super::{market, registered};

async fn import(alice: &Terminal, file: &str, arguments: &[&str]) -> Ran {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files").join(file);
    let path = path.display().to_string();
    alice.run(&[&["import", &path, "--output", "json"], arguments].concat()).await
}

/// Returns the items as `export` writes them, each as its SKU, name, description, category, price and quantity.
async fn items(alice: &Terminal) -> Vec<[Value; 6]> {
    let exported = alice.run(&["export", "--format", "ndjson"]).await;
    assert_eq!(exported.code, 0, "{exported:?}");
    let fields = ["sku", "name", "description", "category", "price", "quantity"];
    let item = |line| {
        let mut item: Value = serde_json::from_str(line).expect("JSON");
        let text = |field: &str| item[field].as_str().expect("a text").to_owned();
        item["price"] = json!(format!("{} {}", text("price"), text("currency")));
        fields.map(|field| item[field].clone())
    };
    exported.out.lines().map(item).collect()
}

fn item(sku: &str, name: &str, description: &str, category: &str, price: &str, quantity: i64) -> [Value; 6] {
    [json!(sku), json!(name), json!(description), json!(category), json!(price), json!(quantity)]
}

fn counts(ran: &Ran) -> [i64; 4] {
    let tally: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
    ["rows", "created_count", "skipped_count", "failed_count"]
        .map(|count| tally[count].as_i64().unwrap_or_else(|| panic!("{count}: {ran:?}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shopify_export_is_imported_with_its_variants() {
    let market = market().await;
    let alice = registered(&market).await;
    let ran = import(&alice, "shopify.csv", &["--from", "shopify", "--currency", "EUR"]).await;
    assert_eq!((ran.code, counts(&ran)), (0, [7, 4, 3, 0]), "{ran:?}");
    for words in ["further pictures: 1", "products that are not published: 1", "gift cards: 1"] {
        assert!(ran.err.contains(words), "{ran:?}");
    }
    let tee = "A soft tee, made of organic cotton.\n\n- Washable at 30°\n- Made in Portugal";
    let shirts = "apparel-accessories/clothing/shirts-tops";
    let expected = [
        item("TEE-RED-M", "Classic Tee - Red / M", tee, shirts, "19.90 EUR", 12),
        item("TEE-RED-L", "Classic Tee - Red / L", tee, shirts, "19.90 EUR", 0),
        item("classic-tee-blue-navy-m", "Classic Tee - Blue, navy / M", tee, shirts, "21.00 EUR", 0),
        item("00042", "Oak board", "Plain text, with \"quotes\".", "kitchen-dining", "34.50 EUR", 5),
    ];
    assert_eq!(items(&alice).await, expected);
    // Again, it changes nothing.
    let ran = import(&alice, "shopify.csv", &["--from", "shopify", "--currency", "EUR"]).await;
    assert_eq!((ran.code, counts(&ran)), (0, [7, 0, 3, 0]), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_shopify_export_does_not_say_comes_from_defaults() {
    let market = market().await;
    let alice = registered(&market).await;
    let shopify = ["--from", "shopify", "--currency", "EUR"];
    // Nobody counts the umbrellas.
    let ran = import(&alice, "shopify-2025.csv", &shopify).await;
    assert_eq!((ran.code, counts(&ran)), (2, [4, 2, 1, 1]), "{ran:?}");
    assert!(ran.err.contains("line 4") && ran.err.contains("--default quantity="), "{ran:?}");
    let ran =
        import(&alice, "shopify-2025.csv", &[&shopify[..], &["--default", "quantity=9"]].concat()).await;
    assert_eq!((ran.code, counts(&ran)), (0, [4, 1, 1, 0]), "{ran:?}");
    let outerwear = "apparel-accessories/clothing/outerwear";
    let accessories = "apparel-accessories/clothing-accessories";
    let expected = [
        item("RJ-S", "Rain Jacket - S", "Keeps you dry.", outerwear, "89.00 EUR", 4),
        item("RJ-M", "Rain Jacket - M", "Keeps you dry.", outerwear, "89.00 EUR", 7),
        item("UMB", "Umbrella", "", accessories, "15.00 EUR", 9),
    ];
    assert_eq!(items(&alice).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_woocommerce_export_is_imported_with_its_variations() {
    let market = market().await;
    let alice = registered(&market).await;
    let ran = import(&alice, "woocommerce.csv", &["--from", "woocommerce", "--currency", "GBP"]).await;
    assert_eq!((ran.code, counts(&ran)), (0, [10, 5, 5, 0]), "{ran:?}");
    let wool = "Warm and heavy.\n\nMade of wool & cotton.";
    let expected = [
        item("beanie", "Beanie", "Keeps your head warm.", "clothing/accessories", "20.00 GBP", 25),
        item("belt", "Belt", "A belt.", "clothing/accessories", "55.00 GBP", 0),
        item("id:60", "Cap", "", "clothing/accessories", "16.00 GBP", 0),
        item("hoodie-red", "Hoodie - Red, No", wool, "clothing/hoodies", "42.00 GBP", 7),
        item("hoodie-blue", "Hoodie - Blue / No", "The blue one.", "clothing/hoodies", "45.00 GBP", 2),
    ];
    assert_eq!(items(&alice).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_google_merchant_source_is_imported_as_text_and_as_json() {
    let market = market().await;
    let alice = registered(&market).await;
    let ran = import(&alice, "google-merchant.tsv", &["--from", "google-merchant"]).await;
    assert_eq!((ran.code, counts(&ran)), (0, [3, 3, 0, 0]), "{ran:?}");
    let text = "Made from 100% organic cotton, this classic red shirt is slim.";
    let shirt = "Mens Pique Polo Shirt";
    let table = item("T1", "Oak table", "A table.", "furniture/tables", "225.50 GBP", 0);
    let expected = [
        item("A2B4", &format!("{shirt} - Red / M"), text, "home/men/shirts", "15.00 GBP", 12),
        item(
            "A2B5",
            &format!("{shirt} - Blue / M"),
            "Made from 100% organic cotton.",
            "home/men/shirts",
            "15.00 GBP",
            0,
        ),
        table.clone(),
    ];
    assert_eq!(items(&alice).await, expected);
    let ran = import(&alice, "google-merchant.ndjson", &["--from", "google-merchant"]).await;
    assert_eq!((ran.code, counts(&ran)), (0, [2, 0, 0, 0]), "{ran:?}");
    let now = items(&alice).await;
    let text = "Made from organic cotton.";
    assert_eq!(now[0], item("A2B4", &format!("{shirt} - Red / M"), text, "home/men/shirts", "15.00 GBP", 12));
    assert_eq!(now[2], table);
}

#[tokio::test(flavor = "multi_thread")]
async fn ndjson_with_the_headings_of_a_shop_is_imported() {
    let market = market().await;
    let alice = registered(&market).await;
    let ran = import(&alice, "shopify.ndjson", &["--from", "shopify", "--currency", "EUR"]).await;
    assert_eq!((ran.code, counts(&ran)), (0, [2, 1, 1, 0]), "{ran:?}");
    let ran = import(&alice, "woocommerce.ndjson", &["--from", "woocommerce", "--currency", "EUR"]).await;
    assert_eq!((ran.code, counts(&ran)), (0, [1, 1, 0, 0]), "{ran:?}");
    let expected = [
        item("OAK", "Oak board", "An oak board.", "kitchen", "34.50 EUR", 5),
        item("beanie", "Beanie", "Warm.", "clothing/accessories", "20.00 EUR", 25),
    ];
    assert_eq!(items(&alice).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_another_shop_than_stated_is_refused() {
    let market = market().await;
    let alice = registered(&market).await;
    for (file, shop, word) in [
        ("shopify.csv", "woocommerce", "Name"),
        ("woocommerce.csv", "shopify", "Title"),
        ("shopify.csv", "google-merchant", "id"),
    ] {
        let ran = import(&alice, file, &["--from", shop, "--currency", "EUR"]).await;
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains(word) && ran.err.contains(shop), "{ran:?}");
    }
    assert!(items(&alice).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_columns_that_are_not_read_may_repeat() {
    let market = market().await;
    let alice = registered(&market).await;
    let path = alice.home.path().join("feed.tsv");
    let file = path.display().to_string();
    let import = async |heading: &str| {
        let text = format!(
            "id\ttitle\tprice\tproduct_type\tquantity\tadditional image link\t{heading}\n\
             A-1\tMug\t5.00 GBP\tKitchen\t3\thttps://example.com/1.jpg\tx\n"
        );
        std::fs::write(&path, text).expect("written");
        alice.run(&["import", &file, "--from", "google-merchant", "--output", "json"]).await
    };
    for heading in ["price", "Product Type", "quantity"] {
        let ran = import(heading).await;
        assert!(ran.code == 2 && ran.err.contains("comes twice"), "{heading}: {ran:?}");
    }
    assert_eq!(items(&alice).await, [] as [[Value; 6]; 0]);
    let ran = import("additional_image_link").await;
    assert_eq!((ran.code, counts(&ran)), (0, [1, 1, 0, 0]), "{ran:?}");
}
