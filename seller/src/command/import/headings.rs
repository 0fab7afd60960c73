//! Finds the columns of the fields by the headings of a CSV file, or the keys of a JSON object.

use std::collections::{HashMap, HashSet};

use souk_cli::{Failure, plain};

use super::{
    fields::{Field, normal},
    records::Record,
};

/// The maximum number of headings that an error message lists.
const MAX_LISTED: usize = 20;

/// Parses `FIELD=TEXT`, the value of --column and --default. The text may contain further `=`.
pub(super) fn assignment(text: &str) -> Result<(Field, String), String> {
    let names = || Field::ALL.map(Field::name).join(", ");
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("write FIELD=TEXT; fields are {}", names()))?;
    let field = Field::ALL.into_iter().find(|field| field.name() == name);
    let field = field.ok_or_else(|| format!("there is no field {name:?}; fields are {}", names()))?;
    Ok((field, value.to_owned()))
}

/// The headings of the fields in a file, and the default values of the fields that it lacks.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    headings: HashMap<Field, String>,
    defaults: HashMap<Field, String>,
    currency: Option<String>,
}

impl Columns {
    pub(super) fn new(
        headings: &[(Field, String)],
        defaults: &[(Field, String)],
        currency: Option<&str>,
    ) -> Result<Self, Failure> {
        let once = |given: &[(Field, String)], flag: &str| {
            let map: HashMap<_, _> = given.iter().cloned().collect();
            if map.len() < given.len() {
                let problem = format!("{flag} names a field twice");
                return Err(Failure::usage(problem, "give each field once"));
            }
            Ok(map)
        };
        Ok(Self {
            headings: once(headings, "--column")?,
            defaults: once(defaults, "--default")?,
            currency: currency.map(str::to_owned),
        })
    }

    /// Returns the heading of a field's column, or the key of its value.
    pub(super) fn heading(&self, field: Field) -> &str {
        self.headings.get(&field).map_or(field.name(), String::as_str)
    }

    /// Returns a field's value for rows that have none.
    pub(super) fn default_of(&self, field: Field) -> Option<&str> {
        self.defaults.get(&field).map(String::as_str)
    }

    /// Returns the currency of amounts without one.
    pub(super) fn currency(&self) -> Option<&str> {
        self.currency.as_deref()
    }

    /// Returns whether a heading is that of a field's column.
    pub(super) fn is_heading(&self, heading: &str) -> bool {
        let heading = normal(heading);
        Field::ALL.into_iter().any(|field| normal(self.heading(field)) == heading)
    }

    /// Says that a heading or key is not used, and which field it was probably meant to name. `is_found` returns whether
    /// the file has a field anyway.
    pub(super) fn unused(&self, heading: &str, is_found: impl Fn(Field) -> bool) -> String {
        let shown = plain(heading);
        if let Some(field) = Field::named(heading)
            && let Some(asked) = self.headings.get(&field)
        {
            return format!("{shown:?} is not used: --column takes {} from {:?}", field.name(), plain(asked));
        }
        let missing = Field::ALL.into_iter().filter(|field| !is_found(*field));
        match Field::guess(heading, missing) {
            Some(field) => format!("{shown:?} is not used; did you mean {:?}?", field.name()),
            None => format!("{shown:?} is not used"),
        }
    }

    /// Finds the columns of a CSV file by its first record.
    pub(super) fn locate(&self, header: &Record) -> Result<Layout, Failure> {
        let headings = texts(header);
        let mut places = HashMap::new();
        for field in Field::ALL {
            let wanted = normal(self.heading(field));
            match headings.iter().position(|heading| normal(heading) == wanted) {
                Some(place) => drop(places.insert(field, place)),
                None if self.headings.contains_key(&field) => {
                    let problem = format!("has no column {:?}", self.heading(field));
                    return Err(wrong_header(&problem, &headings));
                }
                None => {}
            }
        }
        let layout = Layout { places, headings };
        self.check_complete(&layout)?;
        check_repeated(&layout.headings)?;
        Ok(layout)
    }

    fn check_complete(&self, layout: &Layout) -> Result<(), Failure> {
        let has = |field| layout.places.contains_key(&field) || self.defaults.contains_key(&field);
        if let Some(field) = Field::ALL.into_iter().find(|field| field.is_required() && !has(*field)) {
            let mut unused = layout.unused();
            let meant = unused.find(|heading| Field::guess(heading, [field]).is_some());
            let guess = meant.map(|heading| format!(" (is it {:?}?)", plain(heading))).unwrap_or_default();
            let problem = format!("has no column {:?}{guess}", field.name());
            return Err(wrong_header(&problem, &layout.headings));
        }
        if !has(Field::Sku) && !has(Field::ItemId) {
            return Err(wrong_header("has neither a column \"sku\" nor \"item_id\"", &layout.headings));
        }
        Ok(())
    }
}

/// Returns the headings without the empty ones at the end.
fn texts(header: &Record) -> Vec<String> {
    let text = |place| String::from_utf8_lossy(header.cell(place).unwrap_or_default()).trim().to_owned();
    (0..header.filled()).map(text).collect()
}

fn check_repeated(headings: &[String]) -> Result<(), Failure> {
    let mut seen = HashSet::new();
    let mut named = headings.iter().filter(|heading| !heading.is_empty());
    match named.find(|heading| !seen.insert(normal(heading))) {
        Some(heading) => Err(Failure::usage(
            format!("the heading {:?} comes twice", plain(heading)),
            "remove one of the columns, or give it another heading",
        )),
        None => Ok(()),
    }
}

fn wrong_header(problem: &str, headings: &[String]) -> Failure {
    let shown = headings.iter().take(MAX_LISTED).map(|heading| plain(heading)).collect::<Vec<_>>();
    Failure::usage(
        format!("the first line {problem}; it has: {}", shown.join(", ")),
        "name a column with --column FIELD=HEADING, or give a value for all rows with --default FIELD=VALUE",
    )
}

/// The columns of a CSV file.
#[derive(Debug)]
pub(super) struct Layout {
    places: HashMap<Field, usize>,
    /// Without the empty ones at the end.
    headings: Vec<String>,
}

impl Layout {
    /// Returns the columns of another shop's file, which are not those of the fields.
    pub(super) fn of_shop(header: &Record) -> Self {
        Self { places: HashMap::new(), headings: texts(header) }
    }

    pub(super) fn headings(&self) -> &[String] {
        &self.headings
    }

    /// Returns the cell of a field in a record; `None` if the record has no such cell.
    pub(super) fn cell<'a>(&self, record: &'a Record, field: Field) -> Option<&'a [u8]> {
        record.cell(*self.places.get(&field)?)
    }

    /// Returns whether the file has a column of the field.
    pub(super) fn has(&self, field: Field) -> bool {
        self.places.contains_key(&field)
    }

    /// Returns the headings of the columns that no field is read from.
    pub(super) fn unused(&self) -> impl Iterator<Item = &str> {
        let is_used = |place: &usize| self.places.values().any(|used| used == place);
        let unused = self.headings.iter().enumerate().filter(move |(place, _)| !is_used(place));
        unused.map(|(_, heading)| heading.as_str()).filter(|heading| !heading.is_empty())
    }

    /// Checks that a record has the shape of the heading, and no fewer cells than the required fields need.
    pub(super) fn check(&self, record: &Record, columns: &Columns) -> Result<(), String> {
        self.check_shape(record)?;
        let is_missing = |field: &Field| {
            let is_beyond = self.places.get(field).is_some_and(|place| *place >= record.len());
            is_beyond && field.is_required() && columns.default_of(*field).is_none()
        };
        let missing: Vec<_> = Field::ALL.into_iter().filter(is_missing).map(Field::name).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (cells, width) = (record.len(), self.headings.len());
        Err(format!("has {cells} cells where the heading has {width}, and no {}", missing.join(" and no ")))
    }

    /// Checks that every cell is below a heading. Empty cells at the end are no problem: spreadsheets add them.
    pub(super) fn check_shape(&self, record: &Record) -> Result<(), String> {
        let (cells, width) = (record.filled(), self.headings.len());
        if cells > width {
            return Err(format!(
                "has {cells} cells where the heading has {width}; put quotation marks around a text that contains the delimiter"
            ));
        }
        let is_without_heading = |place: &usize| self.headings[*place].is_empty() && !record.is_blank(*place);
        match (0..cells).find(is_without_heading) {
            Some(place) => Err(format!("has text in cell {}, whose column has no heading", place + 1)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::records::Records, *};

    fn record(line: &str) -> Record {
        let mut records = Records::new(line.as_bytes(), b',');
        records.next().unwrap().unwrap().unwrap();
        records.into_record()
    }

    fn layout(columns: &Columns, header: &str) -> Result<Layout, String> {
        columns.locate(&record(header)).map_err(|failure| failure.to_string())
    }

    fn plain_columns() -> Columns {
        Columns::new(&[], &[], Some("GBP")).unwrap()
    }

    #[test]
    fn columns_are_found_by_their_names_whatever_their_order_and_case() {
        let layout = layout(&plain_columns(), "SKU,Price,\" name \",Category,QUANTITY,item-id,,").unwrap();
        let row = record("L-1,2,Lamp,home,3,7");
        for (field, cell) in [(Field::Sku, "L-1"), (Field::Name, "Lamp"), (Field::ItemId, "7")] {
            assert_eq!(layout.cell(&row, field), Some(cell.as_bytes()));
        }
        assert_eq!(layout.cell(&row, Field::Description), None);
        assert_eq!(layout.unused().count(), 0);
    }

    #[test]
    fn a_header_without_what_is_needed_is_refused_with_what_it_has() {
        let refused = layout(&plain_columns(), "StockCode,Price").unwrap_err();
        assert!(refused.contains("name") && refused.contains("StockCode, Price"), "{refused}");
        let refused = layout(&plain_columns(), "sku,name,category,prise,quantity").unwrap_err();
        assert!(refused.contains("\"price\" (is it \"prise\"?)"), "{refused}");
        let columns = Columns::new(&[(Field::Sku, "Code".to_owned())], &[], None).unwrap();
        let refused = layout(&columns, "sku,name,category,price,quantity").unwrap_err();
        assert!(refused.contains("Code"), "{refused}");
        let refused = layout(&plain_columns(), "name,category,price,quantity").unwrap_err();
        assert!(refused.contains("item_id"), "{refused}");
    }

    #[test]
    fn a_heading_comes_once() {
        for header in ["price", " PRICE ", "note,Note", "item id,item_id"] {
            let header = format!("sku,name,category,price,quantity,{header}");
            let refused = layout(&plain_columns(), &header).unwrap_err();
            assert!(refused.contains("twice"), "{header}: {refused}");
        }
    }

    #[test]
    fn unknown_headings_are_named_with_a_guess() {
        let columns = Columns::new(&[assignment("price=UnitPrice").unwrap()], &[], None).unwrap();
        let layout =
            layout(&columns, "sku,name,category,price,unitprice,quantity,descripton,colour").unwrap();
        let warnings: Vec<_> =
            layout.unused().map(|heading| columns.unused(heading, |field| layout.has(field))).collect();
        assert_eq!(
            warnings,
            [
                "\"price\" is not used: --column takes price from \"UnitPrice\"",
                "\"descripton\" is not used; did you mean \"description\"?",
                "\"colour\" is not used",
            ]
        );
    }

    #[test]
    fn a_row_has_the_shape_of_the_heading() {
        let columns = plain_columns();
        let layout = layout(&columns, "sku,name,,category,price,quantity,description,,").unwrap();
        for good in [
            "1,Lamp,,home,1,2,bright",
            "1,Lamp,,home,1,2",
            "1,Lamp,,home,1,2,bright,,,, ",
            "1,Lamp, ,home,1,2,,",
        ] {
            layout.check(&record(good), &columns).unwrap();
        }
        for (wrong, word) in [
            ("1,Lamp,,home,1,2,bright,x", "8 cells where the heading has 7"),
            ("1,Lamp,x,home,1,2,bright", "cell 3"),
            ("1,Lamp,,home", "4 cells where the heading has 7, and no price and no quantity"),
            ("1,Lamp,,home,1", "5 cells where the heading has 7"),
        ] {
            let problem = layout.check(&record(wrong), &columns).unwrap_err();
            assert!(problem.contains(word), "{wrong}: {problem}");
        }
        let columns = Columns::new(&[], &[assignment("quantity=1").unwrap()], None).unwrap();
        layout.check(&record("1,Lamp,,home,1"), &columns).unwrap();
    }

    #[test]
    fn assignments_name_a_field() {
        assert_eq!(assignment("name=a=b"), Ok((Field::Name, "a=b".to_owned())));
        assert!(assignment("color=red").is_err() && assignment("sku").is_err());
        assert!(Columns::new(&[], &[(Field::Sku, "a".into()), (Field::Sku, "b".into())], None).is_err());
    }
}
