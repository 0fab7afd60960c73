//! The flags that say how results are written: times, fields, and filters or templates for the JSON output.

use clap::Args;

use super::{Failure, query::Query, when::TimeStyle};

/// Flags for the form of results.
#[derive(Args, Clone, Debug, Default)]
pub struct FormatFlags {
    /// How tables show times; CSV and JSON always have UTC [default: relative].
    #[arg(long, global = true, env = "SOUK_TIME", value_name = "STYLE", help_heading = "Output")]
    pub time: Option<TimeStyle>,
    /// Only these fields, by their names in JSON, such as order_id,status.
    #[arg(long, global = true, value_name = "FIELD[,…]", value_delimiter = ',', help_heading = "Output")]
    pub fields: Vec<String>,
    /// Filter the JSON output with an expression of jq, such as '.orders[].order_id'.
    #[arg(long, global = true, value_name = "EXPR", conflicts_with = "template", help_heading = "Output")]
    pub jq: Option<String>,
    /// Write the JSON output by a template of Jinja, such as '{{ order_id }}: {{ total_price | money }}'.
    #[arg(long, global = true, value_name = "TEXT", help_heading = "Output")]
    pub template: Option<String>,
}

/// The form of results, after all sources have been consulted.
#[derive(Clone, Debug, Default)]
pub struct Format {
    /// How tables show times.
    pub time: TimeStyle,
    pub(super) fields: Vec<String>,
    pub(super) query: Option<Query>,
}

impl FormatFlags {
    /// Returns these flags; where they are not given, those of the settings file.
    pub(super) fn over(self, file: Self) -> Self {
        let Self { time, fields, jq, template } = self;
        // A filter takes the place of a template, and the other way round.
        let (jq, template) =
            if jq.is_some() || template.is_some() { (jq, template) } else { (file.jq, file.template) };
        let fields = if fields.is_empty() { file.fields } else { fields };
        Self { time: time.or(file.time), fields, jq, template }
    }

    /// Returns a form with what these flags change of it.
    ///
    /// # Errors
    /// The filter or the template can't be understood.
    pub(super) fn apply(&self, format: &Format) -> Result<Format, Failure> {
        let mut changed = format.clone();
        changed.time = self.time.unwrap_or(changed.time);
        if !self.fields.is_empty() {
            changed.fields.clone_from(&self.fields);
        }
        changed.query = query(self.jq.clone(), self.template.clone()).or(changed.query);
        // Now, and not only when the result is there: the command may change something.
        if let Some(query) = &changed.query {
            query.prepare()?;
        }
        Ok(changed)
    }
}

fn query(jq: Option<String>, template: Option<String>) -> Option<Query> {
    jq.map(Query::Jq).or(template.map(Query::Template))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_overrules_the_file() {
        let file = FormatFlags {
            time: Some(TimeStyle::Utc),
            fields: vec!["order_id".to_owned()],
            jq: Some(".orders".to_owned()),
            template: None,
        };
        let resolved = |flags: FormatFlags| flags.over(file.clone()).apply(&Format::default()).unwrap();
        let format = resolved(FormatFlags::default());
        assert_eq!((format.time, format.fields.as_slice()), (TimeStyle::Utc, &["order_id".to_owned()][..]));
        assert_eq!(format.query, Some(Query::Jq(".orders".to_owned())));
        let template = Some("{{ status }}".to_owned());
        let format =
            resolved(FormatFlags { time: Some(TimeStyle::Local), template, ..FormatFlags::default() });
        assert_eq!(format.time, TimeStyle::Local);
        assert_eq!(format.query, Some(Query::Template("{{ status }}".to_owned())));
    }

    #[test]
    fn a_wrong_query_is_refused_before_anything_is_done() {
        let jq = FormatFlags { jq: Some(".orders[".to_owned()), ..FormatFlags::default() };
        assert!(jq.apply(&Format::default()).is_err());
        let template = FormatFlags { template: Some("{{ status".to_owned()), ..FormatFlags::default() };
        assert!(template.apply(&Format::default()).is_err());
    }
}
