//! The report: one self-contained page, without scripts, fonts or styles from elsewhere.
//!
//! The templates get the evidence as it is, plus the geometry of the charts, which is computed here. All horizontal
//! coordinates are percentages, so the charts fit a phone, a screen and a sheet of paper without being scaled.

mod axis;
mod boot;
mod chart;
mod clocks;
mod filters;
mod page;
mod security;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Error};

use crate::evidence::Evidence;

/// The one part of the page that is not HTML, and so is not escaped. It holds no value of any evidence.
const STYLE: &str = "style.css";

const TEMPLATES: [(&str, &str); 8] = [
    ("report.html", include_str!("../templates/report.html.j2")),
    (STYLE, include_str!("../templates/style.css")),
    ("macros.html", include_str!("../templates/macros.html.j2")),
    ("boot.html", include_str!("../templates/boot.svg.j2")),
    ("chart.html", include_str!("../templates/chart.svg.j2")),
    ("clauses.html", include_str!("../templates/clauses.html.j2")),
    ("security.html", include_str!("../templates/security.html.j2")),
    ("scenario.html", include_str!("../templates/scenario.html.j2")),
];

/// Renders the page. The same evidence always gives the same bytes.
///
/// An error is a defect of the templates: no evidence makes them fail.
pub fn render(evidence: &Evidence) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
    environment.set_auto_escape_callback(|name| if name == STYLE { AutoEscape::None } else { AutoEscape::Html });
    environment.set_formatter(filters::format);
    filters::register(&mut environment);
    for (name, source) in TEMPLATES {
        environment.add_template(name, source)?;
    }
    environment.get_template("report.html")?.render(Serde(page::Page::new(evidence)))
}
