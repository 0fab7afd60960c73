//! Files as spreadsheets and programs write them, through the whole reader.

use clap::Parser;
use encoding_rs::{UTF_16BE, UTF_16LE, WINDOWS_1252};

use super::*;

const HEADING: &str = "sku,name,description,category,price,quantity";

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    import: Import,
}

/// The result of reading a file.
#[derive(Debug)]
struct Read {
    rows: Vec<rows::Row>,
    warnings: Vec<String>,
    dialect: String,
}

fn read(name: &str, content: &[u8], flags: &[&str]) -> Result<Read, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    let arguments = ["import"].iter().chain(flags).map(std::ffi::OsStr::new).chain([path.as_os_str()]);
    let Import { dialect, column, default, .. } = CommandLine::parse_from(arguments).import;
    let columns = Columns::new(&column, &default, Some("GBP")).map_err(|failure| failure.to_string())?;
    let mut source =
        Input { file: path, dialect, columns, export: None }.open().map_err(|failure| failure.to_string())?;
    let mut rows = Vec::new();
    while let Some(row) = source.next().map_err(|failure| failure.to_string())? {
        rows.push(row);
    }
    assert_eq!(source.position(), content.len() as u64);
    Ok(Read { rows, warnings: source.take_warnings(), dialect: source.dialect().describe() })
}

/// Returns each row in short: its line, and its SKU, name, minor units and quantity, or what is wrong with it.
fn short(read: &Read) -> Vec<String> {
    let one = |row: &rows::Row| match &row.item {
        Ok(found) => {
            let item = found.item.as_ref().unwrap();
            let price = item.unit_price.as_ref().unwrap();
            let (minor, code) = (price.amount_minor, &price.currency_code);
            format!("{}: {} {} {minor} {code} {}", row.line, item.sku(), item.name(), item.quantity())
        }
        Err(refused) => format!("{}: {}", row.line, refused.problem),
    };
    read.rows.iter().map(one).collect()
}

fn csv(content: &str, flags: &[&str]) -> Read {
    read("items.csv", content.as_bytes(), flags).unwrap()
}

#[test]
fn lines_are_those_of_an_editor_and_blank_rows_are_skipped() {
    for line_break in ["\n", "\r\n", "\r"] {
        let lines = [
            HEADING,
            "1,Lamp,\"two",
            "",
            "lines\",home,1,1",
            ",,,,,",
            "",
            "2,Chair,,home,x,1",
            "3,Table,,home,1,1",
        ];
        let found = csv(&lines.join(line_break), &[]);
        let lines: Vec<_> = found.rows.iter().map(|row| row.line).collect();
        assert_eq!(lines, [2, 7, 8], "{line_break:?}");
        let lamp = found.rows[0].item.as_ref().unwrap();
        assert_eq!(lamp.item.as_ref().unwrap().description(), "two\n\nlines");
        assert!(found.rows[1].item.as_ref().unwrap_err().problem.contains("no amount"));
    }
}

#[test]
fn a_row_that_does_not_end_is_given_up() {
    let mut text = format!("{HEADING}\n1,\"Lamp,,home,1,1\n").into_bytes();
    text.extend(vec![b'x'; 1_000_000]);
    let failure = read("items.csv", &text, &[]).unwrap_err();
    assert!(failure.contains("quotation mark"), "{failure}");
    let failure = read("items.ndjson", &vec![b'x'; 1_000_000], &[]).unwrap_err();
    assert!(failure.contains("256 KiB"), "{failure}");
}

#[test]
fn an_absent_description_is_not_an_empty_one() {
    let description = |found: &Read, row: usize| {
        let item = found.rows[row].item.as_ref().unwrap().item.clone().unwrap();
        item.description
    };
    let found = csv(&format!("{HEADING}\n1,Lamp,,home,1,1\n2,Lamp,bright,home,1,1\n"), &[]);
    assert_eq!(
        (description(&found, 0), description(&found, 1)),
        (Some(String::new()), Some("bright".into()))
    );
    let found = csv("sku,name,category,price,quantity,description\n1,Lamp,home,1,1\n2,Lamp,home,1,1,\n", &[]);
    assert_eq!((description(&found, 0), description(&found, 1)), (None, Some(String::new())));
    let found =
        csv("sku,name,category,price,quantity\n1,Lamp,home,1,1\n", &["--default", "description=bright"]);
    assert_eq!(description(&found, 0), Some("bright".into()));
    let rest = r#""name":"Lamp","category":"home","price":"1","quantity":1"#;
    let lines = format!(
        "{{\"sku\":\"1\",{rest}}}\r\n{{\"sku\":\"2\",\"description\":\"\",{rest}}}\r\n{{\"sku\":\"3\",\"description\":null,{rest}}}\r\n"
    );
    let found = read("items.ndjson", lines.as_bytes(), &[]).unwrap();
    let found = [0, 1, 2].map(|row| description(&found, row));
    assert_eq!(found, [None, Some(String::new()), None]);
}

#[test]
fn what_a_spreadsheet_writes_in_another_locale_is_read() {
    let german = "sku;name;category;price;quantity\r\nA-1;Größe, klein;home;1.234,56;1.000\r\nA-2;Café;home;2,5 €;3\r\n";
    let expected = ["2: A-1 Größe, klein 123456 GBP 1000", "3: A-2 Café 250 EUR 3"];
    let utf_16 =
        |text: &str, bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<_>>();
    let marked = format!("\u{feff}{german}");
    for (content, encoding) in [
        (german.as_bytes().to_vec(), "UTF-8"),
        (marked.as_bytes().to_vec(), "UTF-8"),
        (utf_16(&marked, u16::to_le_bytes), UTF_16LE.name()),
        (utf_16(&marked, u16::to_be_bytes), UTF_16BE.name()),
        (utf_16(german, u16::to_le_bytes), "UTF-16LE (guessed)"),
        (WINDOWS_1252.encode(german).0.into_owned(), "windows-1252 (guessed)"),
        (format!("sep=;\r\n{german}").into_bytes(), "UTF-8"),
        (german.replace(';', "\t").into_bytes(), "UTF-8"),
    ] {
        let found = read("items.csv", &content, &["--locale", "de_DE.UTF-8"]).unwrap();
        let lines: Vec<_> =
            short(&found).iter().map(|row| row.split_once(": ").unwrap().1.to_owned()).collect();
        assert_eq!(lines, expected.map(|row| row.split_once(": ").unwrap().1), "{found:?}");
        assert!(found.dialect.starts_with(&format!("CSV in {encoding}, cells")), "{}", found.dialect);
        assert!(found.dialect.ends_with("decimal comma"), "{}", found.dialect);
        let has_separator_line = content.starts_with(b"sep=");
        assert_eq!(found.rows[0].line, if has_separator_line { 3 } else { 2 });
        assert_eq!(found.warnings.is_empty(), !encoding.contains("guessed"), "{:?}", found.warnings);
    }
    let found = csv(german, &[]);
    assert!(short(&found)[0].contains("--decimal comma"), "{found:?}");
}

#[test]
fn flags_go_before_what_is_detected() {
    let text = "sku|name|category|price|quantity\nA;1|Lamp, small|home|1,50|2\n";
    let found = csv(text, &["--delimiter", "pipe", "--decimal", "comma", "--encoding", "utf-8"]);
    assert_eq!(short(&found), ["2: A;1 Lamp, small 150 GBP 2"]);
    // A label of the Encoding Standard.
    let latin = WINDOWS_1252.encode("sku,name,category,price,quantity\n1,Café,home,1,1\n").0;
    let found = read("items.csv", &latin, &["--encoding", "latin1"]).unwrap();
    assert_eq!((short(&found), found.warnings.len()), (vec!["2: 1 Café 100 GBP 1".to_owned()], 0));
    let found = read("items.csv", &latin, &["--encoding", "utf-8"]).unwrap();
    assert!(short(&found)[0].contains("UTF-8"), "{found:?}");
    let found = csv(
        "sku,name,category,price,quantity\n1,Lamp,home,1.50,1\n",
        &["--locale", "de", "--decimal", "point"],
    );
    assert_eq!(short(&found), ["2: 1 Lamp 150 GBP 1"]);
    let found = csv("sep=;\nsku,name,category,price,quantity\n1,Lamp,home,1,1\n", &["--delimiter", ","]);
    assert_eq!(short(&found), ["3: 1 Lamp 100 GBP 1"]);
}

#[test]
fn damaged_characters_are_refused_with_their_row() {
    let mut text = "sku,name,category,price,quantity\n1,Café,home,1,1\n2,Th".as_bytes().to_vec();
    text.extend(b"\xe9,home,1,1\n3,Mug,home,1,1\n");
    let found = read("items.csv", &text, &[]).unwrap();
    assert_eq!(
        short(&found)[1],
        "3: name is not in UTF-8; save the file as UTF-8, or pass its encoding with --encoding"
    );
    assert_eq!(found.rows.iter().filter(|row| row.item.is_ok()).count(), 2);
    let mut text: Vec<u8> =
        "\u{feff}sku,name,category,price,quantity\n1,Ca".encode_utf16().flat_map(u16::to_le_bytes).collect();
    // Half of a surrogate pair.
    text.extend([0x00, 0xd8]);
    text.extend(",home,1,1\n".encode_utf16().flat_map(u16::to_le_bytes));
    let found = read("items.csv", &text, &[]).unwrap();
    assert!(short(&found)[0].contains("not in the file's encoding"), "{found:?}");
}

#[test]
fn a_sku_in_scientific_notation_is_refused() {
    let found = csv(
        &format!(
            "{HEADING}\n1.23E+12,Lamp,,home,1,1\n\"1,23E+12\",Lamp,,home,1,1\n'1.23E+12,Lamp,,home,1,1\n1E3,Mug,,home,1,1\n"
        ),
        &[],
    );
    let rows = short(&found);
    assert!(rows[..2].iter().all(|row| row.contains("scientific notation")), "{rows:?}");
    assert_eq!(rows[2..], ["4: 1.23E+12 Lamp 100 GBP 1", "5: 1E3 Mug 100 GBP 1"]);
    let rest = r#""name":"Lamp","category":"home","price":"1","quantity":10.0"#;
    let found =
        read("items.ndjson", format!("{{\"sku\":1.23E+12,{rest}}}\n{{\"sku\":12,{rest}}}\n").as_bytes(), &[]);
    let rows = short(&found.unwrap());
    assert!(rows[0].contains("write it as a text"), "{rows:?}");
    assert_eq!(rows[1], "2: 12 Lamp 100 GBP 10");
}

#[test]
fn everything_that_is_wrong_with_a_row_is_reported_at_once() {
    let found = csv(&format!("{HEADING}\nA-1,,bright,home,x,-1\n,Lamp,,home,1,1\n"), &[]);
    let refused: Vec<_> = found.rows.iter().map(|row| row.item.as_ref().unwrap_err()).collect();
    assert_eq!(refused[0].sku, "A-1");
    for word in ["name is empty", "price \"x\" is no amount", "quantity \"-1\" is negative"] {
        assert!(refused[0].problem.contains(word), "{:?}", refused[0]);
    }
    assert_eq!(refused[1].problem, "sku is missing; give the item's own number, or an item_id");
}

#[test]
fn json_lines_have_texts_or_numbers_under_known_keys() {
    let lines = concat!(
        "\u{feff}{\"sku\":1230000000000,\"Name\":\"Lamp\",\"category\":\"home\",\"price\":\"1 GBP\",\"quantity\":1}\r\n",
        "\r\n",
        "{\"sku\":\"2\",\"name\":\"Mug\",\"category\":\"home\",\"price\":19.99,\"quantity\":\"10.0\",\"descripton\":\"x\",\"version\":3}\r\n",
        "{\"sku\":\"3\",\"name\":\"Mug\",\"category\":\"home\",\"price\":1,\"price\":2,\"quantity\":1}\r\n",
        "nonsense\r\n",
        "{\"sku\":\"4\",\"name\":null,\"category\":[],\"price\":1,\"descripton\":\"y\"}"
    );
    let found = read("items", lines.as_bytes(), &[]).unwrap();
    let rows = short(&found);
    assert_eq!(rows[..2], ["1: 1230000000000 Lamp 100 GBP 1", "3: 2 Mug 1999 GBP 10"]);
    assert!(rows[2].starts_with("4: ") && rows[2].contains("\"price\" comes twice"), "{rows:?}");
    assert!(rows[3].starts_with("5: ") && rows[3].contains("no item"), "{rows:?}");
    for word in ["6: ", "name is missing", "category is neither", "quantity is missing"] {
        assert!(rows[4].contains(word), "{rows:?}");
    }
    assert_eq!(found.warnings, ["the key \"descripton\" is not used; did you mean \"description\"?"]);
    assert_eq!(found.dialect, "NDJSON in UTF-8, decimal point");
    let line = br#"{"Code":"1","name":"Lamp","category":"home","price":"1,5","quantity":1}"#;
    let found = read("items.jsonl", line, &["--column", "sku=Code", "--decimal", "comma"]).unwrap();
    assert_eq!(short(&found), ["1: 1 Lamp 150 GBP 1"]);
}

#[test]
fn defaults_stand_in_for_what_is_missing_or_empty() {
    let flags = ["--column", "sku=StockCode", "--default", "category=gifts", "--default", "quantity=100"];
    let found = csv("StockCode,name,price,quantity\n7,Mug,1.10,\n8,Mug,1.10\n", &flags);
    assert_eq!(short(&found), ["2: 7 Mug 110 GBP 100", "3: 8 Mug 110 GBP 100"]);
}

#[test]
fn a_file_without_rows_or_headings_is_an_error() {
    for (content, word) in [
        ("", "empty"),
        ("\u{feff}\r\n\r\n", "empty"),
        ("sku,na\"me,category\n", "line 1"),
        ("sku,name,category,price,price,quantity\n", "twice"),
        ("1,Lamp,home,1,1\n", "has no column \"name\""),
    ] {
        let failure = read("items.csv", content.as_bytes(), &[]).unwrap_err();
        assert!(failure.contains(word), "{content:?}: {failure}");
    }
    assert!(csv(HEADING, &[]).rows.is_empty());
}
