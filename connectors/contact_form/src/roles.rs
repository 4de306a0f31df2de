//! Which field is the sender's name, address, phone number, the subject, the message.
//!
//! Configuration says it; where it does not, type, key and label do. A value alone never does.

use connector_sdk::schemas::FormField;

use crate::config::Config;

const NAME: &[&str] = &[
    "name",
    "fullname",
    "full_name",
    "your_name",
    "yourname",
    "nom",
    "nombre",
    "naam",
    "nome",
    "имя",
    "фио",
    "שם",
    "الاسم",
    "اسمك",
];
const FIRST_NAME: &[&str] = &["first_name", "firstname", "given_name", "vorname", "prenom", "prénom", "fname", "first"];
const LAST_NAME: &[&str] =
    &["last_name", "lastname", "family_name", "surname", "nachname", "apellido", "apellidos", "lname", "фамилия"];
const EMAIL: &[&str] = &["email", "e_mail", "mail", "email_address", "correo", "courriel", "почта"];
const PHONE: &[&str] = &["phone", "tel", "telephone", "phone_number", "telefon", "teléfono", "mobile", "телефон"];
const SUBJECT: &[&str] = &["subject", "betreff", "objet", "asunto", "тема", "נושא", "الموضوع"];
const MESSAGE: &[&str] = &["message", "nachricht", "mensaje", "сообщение", "comment", "comments", "body", "text"];

/// Keys by role; `name` may be several fields (first and last name).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    pub name: Vec<String>,
    pub email: Option<String>,
    pub phone: Option<String>,
    pub subject: Option<String>,
    pub message: Option<String>,
}

/// Finds the roles among the fields that are filled in.
pub fn find(config: &Config, fields: &[FormField]) -> Roles {
    let by_type = |kind: &str| fields.iter().find(|field| field.field_type.as_deref() == Some(kind)).map(key);
    let by_words = |words: &[&str]| fields.iter().find(|field| is_one_of(field, words)).map(key);
    let role = |configured: &Option<String>, kind: Option<&str>, words: &[&str]| {
        configured.clone().or_else(|| kind.and_then(by_type)).or_else(|| by_words(words))
    };
    let name = match role(&config.name_field, None, NAME) {
        Some(name) => vec![name],
        None => [FIRST_NAME, LAST_NAME].into_iter().filter_map(by_words).collect(),
    };
    Roles {
        name,
        email: role(&config.email_field, Some("email"), EMAIL),
        phone: role(&config.phone_field, Some("tel"), PHONE),
        subject: role(&config.subject_field, None, SUBJECT),
        message: config.message_field.clone().or_else(|| by_words(MESSAGE)).or_else(|| by_type("textarea")),
    }
}

/// Whether a field of the form holds the sender's whole name, for browsers to fill in.
pub fn is_name(config: &Config, key: &str) -> bool {
    match &config.name_field {
        Some(name) => name == key,
        None => NAME.contains(&key.to_lowercase().as_str()),
    }
}

fn key(field: &FormField) -> String {
    field.key.clone()
}

/// Whether key or label is one of the words, separators and case aside.
fn is_one_of(field: &FormField, words: &[&str]) -> bool {
    let named = |text: &str| {
        let text = text.to_lowercase().replace([' ', '-', '.'], "_");
        words.contains(&text.as_str())
    };
    field.field_type.as_deref() != Some("file") && (named(&field.key) || field.label.as_deref().is_some_and(named))
}
