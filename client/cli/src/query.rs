//! `--jq` and `--template`: filters and templates that are applied to the JSON output before it is printed.

use std::fmt::Display;

use jaq_core::{
    Compiler, Ctx, Vars, data,
    load::{self, Arena, File, Loader},
    unwrap_valr,
};
use jaq_json::{Val, read};
use minijinja::{Environment, ErrorKind, value::Serde};
use serde_json::Value;

use super::{Failure, money::format_parts};

/// A query over the JSON output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Query {
    /// A filter in the language of jq.
    Jq(String),
    /// A template in the language of Jinja.
    Template(String),
}

/// A query that is ready to run over many documents.
pub(super) enum Prepared {
    Jq(Filter),
    Template(Box<Environment<'static>>),
}

type Filter = jaq_core::Filter<data::JustLut<Val>>;

/// The maximum length of what is quoted of an error of a filter, in characters.
const QUOTED: usize = 200;
/// The name under which the environment knows the template.
const TEMPLATE: &str = "template";

impl Query {
    /// Compiles the query.
    ///
    /// # Errors
    /// It can't be understood.
    pub(super) fn prepare(&self) -> Result<Prepared, Failure> {
        match self {
            Self::Jq(expression) => compile(expression).map(Prepared::Jq),
            Self::Template(text) => parse(text).map(|environment| Prepared::Template(Box::new(environment))),
        }
    }
}

impl Prepared {
    /// Runs the query over a JSON document. Returns the lines to print.
    ///
    /// # Errors
    /// The query does not fit the document.
    pub(super) fn run(&self, document: &str) -> Result<Vec<String>, Failure> {
        match self {
            Self::Jq(filter) => run(filter, document),
            Self::Template(environment) => render(environment, document).map(|text| vec![text]),
        }
    }
}

fn wrong_filter(problem: impl Display) -> Failure {
    Failure::usage(
        format!("the filter of --jq {problem}"),
        "write it as for jq, such as '.orders[].order_id'; --output json shows what it is applied to",
    )
}

fn compile(expression: &str) -> Result<Filter, Failure> {
    let definitions = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let functions = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let program = File { code: expression, path: () };
    let modules = Loader::new(definitions).load(&arena, program).map_err(|errors| not_parsed(&errors))?;
    Compiler::default().with_funs(functions).compile(modules).map_err(|errors| {
        let undefined = errors.iter().flat_map(|(_, errors)| errors).next();
        match undefined {
            Some((name, what)) => wrong_filter(format!("uses a {} that is unknown: {name}", what.as_str())),
            None => wrong_filter("can't be compiled"),
        }
    })
}

fn not_parsed(errors: &load::Errors<&str, ()>) -> Failure {
    let place = |rest: &str| match rest {
        "" => "at its end".to_owned(),
        rest => format!("at {rest:?}"),
    };
    match errors.first().map(|(_, error)| error) {
        Some(load::Error::Lex(errors)) => match errors.first() {
            Some((expected, rest)) => wrong_filter(format!("lacks a {} {}", expected.as_str(), place(rest))),
            None => wrong_filter("can't be read"),
        },
        Some(load::Error::Parse(errors)) => match errors.first() {
            Some((expected, rest)) => wrong_filter(format!("lacks a {} {}", expected.as_str(), place(rest))),
            None => wrong_filter("can't be read"),
        },
        _ => wrong_filter("can't use modules"),
    }
}

/// Runs a filter. Texts are printed as they are, other values as JSON on one line.
fn run(filter: &Filter, document: &str) -> Result<Vec<String>, Failure> {
    // Read by jaq, which keeps the order of the fields.
    let input = read::parse_single(document.as_bytes()).map_err(not_json)?;
    let context = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
    let values = filter.id.run((context, input)).map(unwrap_valr);
    values
        .map(|value| match value {
            Ok(Val::TStr(text)) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Ok(value) => Ok(value.to_string()),
            // The error quotes the value, which may be a whole list.
            Err(error) => {
                Err(wrong_filter(format!("does not fit the result: {:.QUOTED$}", error.to_string())))
            }
        })
        .collect()
}

/// Reports a result that is no JSON, which the printer does not make.
fn not_json(error: impl Display) -> Failure {
    Failure::io("read the result", std::io::Error::other(error.to_string()))
}

const TEMPLATE_HINT: &str = "write it as for Jinja, such as '{% for order in orders %}{{ order.order_id }}{% endfor %}'; \
                             --output json shows the names";

fn wrong_template(error: &minijinja::Error) -> Failure {
    let problem = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    Failure::usage(format!("the text of --template is wrong: {problem}"), TEMPLATE_HINT)
}

/// Parses a template. `\n` and `\t` stand for a line break and a tab, which are awkward to type within quotes.
fn parse(text: &str) -> Result<Environment<'static>, Failure> {
    let mut environment = Environment::new();
    environment.add_filter("money", in_words);
    let text = text.replace("\\n", "\n").replace("\\t", "\t");
    environment.add_template_owned(TEMPLATE, text).map_err(|error| wrong_template(&error))?;
    Ok(environment)
}

fn render(environment: &Environment<'_>, document: &str) -> Result<String, Failure> {
    let template = environment.get_template(TEMPLATE).map_err(|error| wrong_template(&error))?;
    let document: Value = serde_json::from_str(document).map_err(not_json)?;
    // A template that names fields of rows without a loop over the list would print an empty line.
    let names = document.as_object().filter(|names| names.contains_key("next_page_token"));
    let unknown = template
        .undeclared_variables(false)
        .into_iter()
        .find(|name| names.is_some_and(|names| !names.contains_key(name)));
    if let Some(unknown) = unknown.filter(|name| environment.globals().all(|(global, _)| global != name)) {
        let known: Vec<_> = names.into_iter().flat_map(|names| names.keys()).map(String::as_str).collect();
        let problem =
            format!("the text of --template names {unknown}, but a list has {}", known.join(" and "));
        return Err(Failure::usage(problem, TEMPLATE_HINT));
    }
    let text = template.render(Serde(document)).map_err(|error| wrong_template(&error))?;
    // The printer ends the line.
    Ok(text.strip_suffix('\n').map(str::to_owned).unwrap_or(text))
}

/// The filter `money`: an amount in words, such as 12.50 GBP.
fn in_words(money: &minijinja::Value) -> Result<String, minijinja::Error> {
    let amount = money.get_attr("amount_minor").ok().and_then(|amount| i64::try_from(amount).ok());
    let code = money.get_attr("currency_code").ok();
    match (amount, code.as_ref().and_then(|code| code.as_str())) {
        (Some(amount), Some(code)) => Ok(format_parts(amount, code)),
        _ if money.is_none() || money.is_undefined() => Ok("-".to_owned()),
        _ => Err(minijinja::Error::new(
            ErrorKind::InvalidOperation,
            "money is for amounts, such as unit_price",
        )),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn orders() -> String {
        let orders = json!({
            "orders": [
                {"order_id": 1, "status": "placed", "total_price": {"amount_minor": 1_250, "currency_code": "GBP"}},
                {"order_id": 2, "status": "shipped", "total_price": null},
            ],
            "next_page_token": "abc",
        });
        orders.to_string()
    }

    fn jq(expression: &str) -> Result<Vec<String>, Failure> {
        Query::Jq(expression.to_owned()).prepare()?.run(&orders())
    }

    fn template(text: &str) -> Result<Vec<String>, Failure> {
        Query::Template(text.to_owned()).prepare()?.run(&orders())
    }

    #[test]
    fn a_filter_prints_texts_raw_and_other_values_as_json() {
        assert_eq!(jq(".orders[].order_id").unwrap(), ["1", "2"]);
        assert_eq!(jq(".next_page_token").unwrap(), ["abc"]);
        assert_eq!(jq("[.orders[] | select(.status == \"placed\") | .order_id]").unwrap(), ["[1]"]);
        assert_eq!(jq(".orders | length").unwrap(), ["2"]);
        assert!(jq("empty").unwrap().is_empty());
    }

    #[test]
    fn a_wrong_filter_is_refused_with_its_fault() {
        for (expression, word) in [(".orders[", "at its end"), ("ordres", "ordres"), (".orders + 1", "fit")] {
            let failure = jq(expression).unwrap_err();
            assert!(failure.to_string().contains(word), "{expression}: {failure}");
            assert!(failure.hint().is_some());
        }
    }

    #[test]
    fn a_template_knows_the_names_of_the_json_output() {
        let lines =
            template("{% for o in orders %}{{ o.order_id }}\\t{{ o.total_price | money }}\\n{% endfor %}");
        assert_eq!(lines.unwrap(), ["1\t12.50 GBP\n2\t-"]);
        assert_eq!(template("<{{ orders[0].status }}> & {{ orders[0].unknown }}").unwrap(), ["<placed> & "]);
        assert_eq!(template("{% for n in range(2) %}{{ n }}{% endfor %}").unwrap(), ["01"]);
    }

    #[test]
    fn a_wrong_template_is_refused_with_its_fault() {
        for text in ["{{ order_id }}", "{% for o in orders %}", "{{ orders | mony }}", "{{ orders | money }}"]
        {
            let failure = template(text).unwrap_err();
            assert!(failure.to_string().contains("--template"), "{text}: {failure}");
        }
    }
}
