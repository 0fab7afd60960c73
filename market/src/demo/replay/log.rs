//! Parses an order log: a CSV file with the columns InvoiceNo, StockCode, Description, Quantity, InvoiceDate
//! (month/day/year hour:minute), UnitPrice, CustomerID, Country.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use csv::StringRecord;

const COLUMNS: [&str; 6] = ["StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"];
/// The number of digits at the beginning of a product's stock code.
const CODE_DIGITS: usize = 5;

/// A parsed order log.
#[derive(Default)]
pub(super) struct OrderLog {
    /// The number of lines after the header.
    pub(super) lines: usize,
    /// The items to list, by stock code.
    pub(super) items: BTreeMap<String, CatalogueItem>,
    /// The purchases, in the order of the file.
    pub(super) purchases: Vec<Purchase>,
    /// The lines that can't be traded.
    pub(super) dirt: Vec<Dirty>,
}

/// A stock code with its latest description and price.
pub(super) struct CatalogueItem {
    pub(super) description: String,
    pub(super) pence: i64,
    /// The number of units in all purchases, which is the stock to list.
    pub(super) demand: i64,
    date: Date,
}

/// A valid line with a customer.
pub(super) struct Purchase {
    pub(super) line: u64,
    pub(super) stock_code: String,
    pub(super) customer: String,
    pub(super) quantity: i64,
    pub(super) pence: i64,
}

/// A line that can't be traded, and why.
pub(super) struct Dirty {
    pub(super) line: u64,
    pub(super) reason: &'static str,
}

/// The totals of a log, of orders or of sales.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) orders: usize,
    pub(super) units: i64,
    pub(super) pence: i64,
}

impl Books {
    pub(super) fn add(&mut self, units: i64, pence: i64) {
        self.orders += 1;
        self.units += units;
        self.pence += pence;
    }
}

/// Year, month, day, hour, minute.
type Date = [u32; 5];

/// The values of a valid line.
struct Line {
    stock_code: String,
    description: String,
    quantity: i64,
    date: Date,
    pence: i64,
    customer: String,
}

impl OrderLog {
    pub(super) fn read(text: &[u8]) -> anyhow::Result<Self> {
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text);
        let header = reader.headers().context("the file has no header")?.clone();
        let mut columns = [0; COLUMNS.len()];
        for (column, name) in columns.iter_mut().zip(COLUMNS) {
            *column = header
                .iter()
                .position(|found| found.trim_start_matches('\u{feff}') == name)
                .with_context(|| format!("the file has no column {name}"))?;
        }
        let mut log = Self::default();
        for record in reader.records() {
            log.lines += 1;
            let number = log.lines as u64 + 1;
            let read = record.map_err(|_| "not a line of CSV in UTF-8");
            match read.and_then(|record| line(&record, &columns)) {
                Ok(line) => log.add(number, line),
                Err(reason) => log.dirt.push(Dirty { line: number, reason }),
            }
        }
        Ok(log)
    }

    fn add(&mut self, number: u64, line: Line) {
        let Line { stock_code, description, quantity, date, pence, customer } = line;
        let item = self.items.entry(stock_code.clone()).or_insert_with(|| CatalogueItem {
            description: description.clone(),
            pence,
            demand: 0,
            date,
        });
        if date >= item.date {
            (item.description, item.pence, item.date) = (description, pence, date);
        }
        if customer.is_empty() {
            self.dirt.push(Dirty { line: number, reason: "no customer: listed, not bought" });
            return;
        }
        item.demand += quantity;
        self.purchases.push(Purchase { line: number, stock_code, customer, quantity, pence });
    }

    pub(super) fn customers(&self) -> usize {
        self.purchases.iter().map(|purchase| &purchase.customer).collect::<BTreeSet<_>>().len()
    }

    /// Returns the totals of the purchases.
    pub(super) fn books(&self) -> Books {
        let mut books = Books::default();
        for purchase in &self.purchases {
            books.add(purchase.quantity, purchase.quantity * purchase.pence);
        }
        books
    }
}

fn line(record: &StringRecord, columns: &[usize; COLUMNS.len()]) -> Result<Line, &'static str> {
    let field =
        |index: usize| record.get(columns[index]).map(str::trim).ok_or("fewer fields than the header");
    let stock_code = field(0)?;
    if !is_product(stock_code) {
        return Err("not a product (postage, a gift voucher, …)");
    }
    let description = field(1)?;
    if description.is_empty() {
        return Err("no description");
    }
    let quantity: i64 = field(2)?.parse().map_err(|_| "the quantity is not a number")?;
    if quantity < 1 {
        return Err("a quantity below 1 (goods returned)");
    }
    let pence = pence(field(4)?).ok_or("the price is not an amount")?;
    if pence < 1 {
        return Err("a price of 0.00");
    }
    Ok(Line {
        stock_code: stock_code.to_owned(),
        description: description.to_owned(),
        quantity,
        date: date(field(3)?).ok_or("the date is not one")?,
        pence,
        customer: field(5)?.to_owned(),
    })
}

/// Returns whether a stock code is a product's: five digits, then letters for a variant.
fn is_product(code: &str) -> bool {
    let (digits, letters) = code.split_at_checked(CODE_DIGITS).unwrap_or((code, ""));
    digits.len() == CODE_DIGITS
        && digits.bytes().all(|b| b.is_ascii_digit())
        && letters.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Parses an amount in pounds to pence, exactly and without floating point; `None` if it is malformed or
/// negative.
pub fn pence(text: &str) -> Option<i64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 {
        return None;
    }
    format!("{whole}{part:0<2}").parse().ok()
}

/// Parses month/day/year hour:minute. Years of two digits are in this century.
fn date(text: &str) -> Option<Date> {
    let numbers: Vec<u32> = text.split(['/', ' ', ':']).map(str::parse).collect::<Result<_, _>>().ok()?;
    let [month, day, year, hour, minute] = numbers[..] else { return None };
    let in_range = (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60;
    let year = if year < 100 { 2_000 + year } else { year };
    in_range.then_some([year, month, day, hour, minute])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, amount) in [("12.50", 1_250), ("0.7", 70), ("3", 300), ("0.00", 0)] {
            assert_eq!(pence(text), Some(amount), "{text}");
        }
        for text in ["", "-1.00", "1,50", "1.505", ".5", "1.", "1e2", "99999999999999999999"] {
            assert_eq!(pence(text), None, "{text}");
        }
    }

    #[test]
    fn dirty_lines_are_reported_by_number_and_the_rest_is_traded() {
        let text = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n\
                    1,22229,BUNNY,3,2/20/11 11:39,0.85,16466,UK\n\
                    2,POST,POSTAGE,1,2/20/11 11:39,18.00,16466,UK\n\
                    3,22229,WOODEN BUNNY,1,12/06/2011 10:08,1.05,,UK\n\
                    4,84347,,2,12/06/2010 10:08,0.00,,UK\n\
                    5,84347,ANGEL,0,12/06/2010 10:08,5.06,13178,UK\n\
                    6,84347,ANGEL,1,12/06/2010 10:08,free,13178,UK\n\
                    7,84347,ANGEL,2,12/06/2010 10:08,5.06,13178,UK\n\
                    8,84347\n";
        let log = OrderLog::read(text.as_bytes()).unwrap();
        let lines: Vec<_> = log.dirt.iter().map(|dirty| dirty.line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 7, 9]);
        assert_eq!(log.items["22229"].description, "WOODEN BUNNY");
        assert_eq!(log.books(), Books { orders: 2, units: 5, pence: 3 * 85 + 2 * 506 });
        assert_eq!(log.customers(), 2);
    }
}
