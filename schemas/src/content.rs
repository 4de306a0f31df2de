//! What was said: typed parts. Every event with content also has `text` as a plain fallback.

use std::borrow::Cow;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

use crate::open_enum::open_enum;

open_enum! {
    /// How a text part is written.
    TextFormat {
        Plain = "plain",
        /// Sanitised HTML: no scripts, no remote loads, no event handlers.
        Html = "html",
        Markdown = "markdown",
    }
}

/// A place on earth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Location {
    /// Degrees, −90…90.
    pub latitude: f64,
    /// Degrees, −180…180.
    pub longitude: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Whether the position is being shared continuously.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live: Option<bool>,
}

/// A contact that was shared.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ContactCard {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phones: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vcard: Option<String>,
}

/// One field of a form, in the form's order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FormField {
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// The form's type of the field (`text`, `email`, `select`, …).
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub field_type: Option<String>,
    /// One value, or several for check boxes and repeated fields; empty where the field was left empty.
    pub values: Vec<String>,
}

/// One ordered item.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OrderItem {
    pub product_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub quantity: u64,
    /// Decimal text, as the provider wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// ISO 4217.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

/// A product that the message is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Product {
    pub product_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Decimal text, as the provider wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<String>,
    /// ISO 4217.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// One typed part of the content.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text, whole.
    Text {
        format: TextFormat,
        text: String,
        /// The text without quoted history and signature, where they were recognised.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reply_text: Option<String>,
    },
    /// A file shown as content; `attachment_id` refers to `attachments[].id`.
    Media {
        attachment_id: String,
        /// `image`, `audio`, `voice`, `video`, `document`, `animation`.
        media: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        caption: Option<String>,
        /// Seconds, for audio and video.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        duration_seconds: Option<u64>,
    },
    Location(Location),
    Contact(ContactCard),
    Sticker {
        id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        emoji: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attachment_id: Option<String>,
    },
    /// A button, menu, command or list choice.
    Interactive {
        /// `button`, `list`, `command`, `menu`, `view`, `poll`.
        action: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// What the choice carries, as the provider sent it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<String>,
    },
    Reaction {
        /// The emoji, or the provider's name of it.
        emoji: String,
    },
    Form {
        form_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        form_name: Option<String>,
        fields: Vec<FormField>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        page_url: Option<String>,
    },
    Order {
        items: Vec<OrderItem>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    Rating {
        /// Decimal text.
        score: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scale: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        comment: Option<String>,
    },
    /// A link that the provider previewed or the customer shared.
    Link {
        url: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
    Product(Product),
    /// A part of a newer schema version: all of it, `type` included.
    #[serde(skip)]
    Unknown(Map<String, Value>),
}

/// Values of `type` that this version knows.
const PART_TYPES: &[&str] = &[
    "text",
    "media",
    "location",
    "contact",
    "sticker",
    "interactive",
    "reaction",
    "form",
    "order",
    "rating",
    "link",
    "product",
];

// The derived functions (`remote`) know the named parts; these add the one for all others, which keeps what it is given.
impl Serialize for Part {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Part::Unknown(whole) => whole.serialize(s),
            known => Part::serialize(known, s),
        }
    }
}

impl<'de> Deserialize<'de> for Part {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let whole = Map::deserialize(d)?;
        match whole.get("type").and_then(Value::as_str) {
            Some(known) if PART_TYPES.contains(&known) => {
                Part::deserialize(Value::Object(whole)).map_err(de::Error::custom)
            }
            Some(_) => Ok(Part::Unknown(whole)),
            None => Err(de::Error::custom("a part needs a `type`")),
        }
    }
}

impl Part {
    pub fn plain(text: impl Into<String>) -> Self {
        Part::Text { format: TextFormat::Plain, text: text.into(), reply_text: None }
    }
}

impl JsonSchema for Part {
    fn schema_name() -> Cow<'static, str> {
        "Part".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        // Derived on a twin without `Unknown`, then opened: a reader must survive a new type of part.
        let known = known::Part::json_schema(generator);
        let mut known = known.to_value();
        let tags: Vec<_> = known["oneOf"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|variant| variant.pointer("/properties/type/const").cloned())
            .collect();
        if let Some(variants) = known["oneOf"].as_array_mut() {
            variants.push(serde_json::json!({
                "description": "A type of part that this version does not know.",
                "type": "object",
                "properties": { "type": { "type": "string", "not": { "enum": tags } } },
                "required": ["type"]
            }));
        }
        schemars::Schema::try_from(known).unwrap_or_default()
    }
}

/// The known parts alone, for the generated schema.
mod known {
    use super::{ContactCard, FormField, Location, OrderItem, Product, TextFormat};

    #[derive(schemars::JsonSchema)]
    #[serde(tag = "type", rename_all = "snake_case")]
    #[allow(dead_code, reason = "only its schema is used")]
    pub enum Part {
        Text { format: TextFormat, text: String, reply_text: Option<String> },
        Media { attachment_id: String, media: String, caption: Option<String>, duration_seconds: Option<u64> },
        Location(Location),
        Contact(ContactCard),
        Sticker { id: String, emoji: Option<String>, attachment_id: Option<String> },
        Interactive { action: String, id: Option<String>, title: Option<String>, payload: Option<String> },
        Reaction { emoji: String },
        Form { form_id: String, form_name: Option<String>, fields: Vec<FormField>, page_url: Option<String> },
        Order { items: Vec<OrderItem>, note: Option<String> },
        Rating { score: String, scale: Option<String>, comment: Option<String> },
        Link { url: String, title: Option<String>, description: Option<String> },
        Product(Product),
    }
}
