//! Asks a serde type which keys it has and what each holds.
//!
//! A derived `Deserialize` tells its deserializer what it wants: "a struct with these fields", "a `u32`", "one of these
//! variants". The [`Probe`] is a deserializer that has no input; it writes down every wish and answers with a value that
//! the type accepts. So the list of keys that error messages show can never differ from the type.

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};

/// What a key holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Shape {
    /// Something that the probe does not know. Its value is left to serde.
    #[default]
    Unknown,
    /// Keys of its own, in the order of the fields.
    Table(Vec<(&'static str, Shape)>),
    /// A whole number, with the bounds of its type.
    Whole(u64, u64),
    /// A number that may have a fraction.
    Number,
    /// True or false.
    Truth,
    /// Any number of values of one shape.
    List(Box<Shape>),
    /// One of these names; a name that carries a value has the value's shape.
    Choice(Vec<(&'static str, Option<Shape>)>),
}

impl Shape {
    /// The shape of a type.
    pub(super) fn of<T: Deserialize<'static>>() -> Self {
        let mut shape = Self::Unknown;
        // A type asks for one variant of each enum, so it is asked again until each variant had its turn.
        let mut round = 0;
        loop {
            // The value itself is of no use: what counts is what was asked for on the way.
            let _probed = T::deserialize(Probe {
                round,
                shape: &mut shape,
            });
            round += 1;
            if round >= shape.most_variants() {
                return shape;
            }
        }
    }

    /// The shape at a path: through tables, and into the value that a choice carries.
    pub(super) fn at<'s>(&self, path: impl IntoIterator<Item = &'s str>) -> Option<&Self> {
        path.into_iter().try_fold(self, |shape, name| match shape {
            Self::Table(keys) => keys.iter().find(|(key, _)| *key == name).map(|(_, shape)| shape),
            Self::Choice(names) => names
                .iter()
                .find(|(choice, _)| *choice == name)
                .and_then(|(_, value)| value.as_ref()),
            _ => None,
        })
    }

    /// Every path that can be given a value, in the order of the fields.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect_paths("", &mut paths);
        paths
    }

    fn collect_paths(&self, prefix: &str, paths: &mut Vec<String>) {
        if !matches!(self, Self::Table(_)) {
            paths.push(prefix.to_owned());
        }
        let keys: Vec<(&str, &Self)> = match self {
            Self::Table(keys) => keys.iter().map(|(key, shape)| (*key, shape)).collect(),
            Self::Choice(names) => names
                .iter()
                .filter_map(|(name, value)| value.as_ref().map(|shape| (*name, shape)))
                .collect(),
            _ => Vec::new(),
        };
        for (key, shape) in keys {
            shape.collect_paths(&join(prefix, key), paths);
        }
    }

    fn most_variants(&self) -> usize {
        match self {
            Self::Table(keys) => keys
                .iter()
                .map(|(_, shape)| shape.most_variants())
                .max()
                .unwrap_or(0),
            Self::List(of) => of.most_variants(),
            Self::Choice(names) => names.len(),
            _ => 0,
        }
    }
}

/// A key below a table, as it is written with a dot.
pub(super) fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() {
        key.to_owned()
    } else {
        format!("{prefix}.{key}")
    }
}

/// The probe met a wish that it cannot grant.
#[derive(Debug)]
struct Stuck;

impl fmt::Display for Stuck {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("the probe has no value for this type")
    }
}

impl std::error::Error for Stuck {}

impl de::Error for Stuck {
    fn custom<T: fmt::Display>(_message: T) -> Self {
        Self
    }
}

struct Probe<'s> {
    round: usize,
    shape: &'s mut Shape,
}

macro_rules! whole_numbers {
    ($($method:ident, $type:ty;)*) => {$(
        fn $method<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Stuck> {
            *self.shape = Shape::Whole(0, u64::try_from(<$type>::MAX).unwrap_or(u64::MAX));
            visitor.visit_u8(1)
        }
    )*};
}

impl<'s> Deserializer<'static> for Probe<'s> {
    type Error = Stuck;

    fn deserialize_any<V: Visitor<'static>>(self, _visitor: V) -> Result<V::Value, Stuck> {
        Err(Stuck)
    }

    whole_numbers! {
        deserialize_u8, u8;
        deserialize_u16, u16;
        deserialize_u32, u32;
        deserialize_u64, u64;
    }

    fn deserialize_f32<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Stuck> {
        self.deserialize_f64(visitor)
    }

    fn deserialize_f64<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Stuck> {
        *self.shape = Shape::Number;
        visitor.visit_f64(1.0)
    }

    fn deserialize_bool<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Stuck> {
        *self.shape = Shape::Truth;
        visitor.visit_bool(true)
    }

    fn deserialize_option<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Stuck> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'static>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Stuck> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'static>>(self, visitor: V) -> Result<V::Value, Stuck> {
        let mut of = match std::mem::take(self.shape) {
            Shape::List(of) => *of,
            _ => Shape::Unknown,
        };
        let value = visitor.visit_seq(One {
            round: self.round,
            shape: Some(&mut of),
        });
        *self.shape = Shape::List(Box::new(of));
        value
    }

    fn deserialize_struct<V: Visitor<'static>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stuck> {
        if !matches!(self.shape, Shape::Table(_)) {
            *self.shape = Shape::Table(fields.iter().map(|field| (*field, Shape::Unknown)).collect());
        }
        let Shape::Table(keys) = self.shape else {
            return Err(Stuck);
        };
        visitor.visit_map(Fields {
            round: self.round,
            rest: keys.iter_mut(),
            value: None,
        })
    }

    fn deserialize_enum<V: Visitor<'static>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stuck> {
        if !matches!(self.shape, Shape::Choice(_)) {
            *self.shape = Shape::Choice(variants.iter().map(|variant| (*variant, None)).collect());
        }
        let Shape::Choice(names) = self.shape else {
            return Err(Stuck);
        };
        let turn = self.round.min(names.len().saturating_sub(1));
        let (name, value) = names.get_mut(turn).ok_or(Stuck)?;
        visitor.visit_enum(Variant {
            round: self.round,
            name,
            value,
        })
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'static>>
        i8 i16 i32 i64 i128 u128 char str string bytes byte_buf unit unit_struct tuple tuple_struct map identifier
        ignored_any
    }
}

/// A list of one element.
struct One<'s> {
    round: usize,
    shape: Option<&'s mut Shape>,
}

impl<'s> de::SeqAccess<'static> for One<'s> {
    type Error = Stuck;

    fn next_element_seed<T: DeserializeSeed<'static>>(&mut self, seed: T) -> Result<Option<T::Value>, Stuck> {
        let round = self.round;
        self.shape
            .take()
            .map(|shape| seed.deserialize(Probe { round, shape }))
            .transpose()
    }
}

/// The fields of a struct, one after the other.
struct Fields<'s> {
    round: usize,
    rest: std::slice::IterMut<'s, (&'static str, Shape)>,
    value: Option<&'s mut Shape>,
}

impl<'s> de::MapAccess<'static> for Fields<'s> {
    type Error = Stuck;

    fn next_key_seed<K: DeserializeSeed<'static>>(&mut self, seed: K) -> Result<Option<K::Value>, Stuck> {
        let Some((key, shape)) = self.rest.next() else {
            return Ok(None);
        };
        self.value = Some(shape);
        let key: de::value::StrDeserializer<'_, Stuck> = (*key).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'static>>(&mut self, seed: V) -> Result<V::Value, Stuck> {
        let shape = self.value.take().ok_or(Stuck)?;
        seed.deserialize(Probe {
            round: self.round,
            shape,
        })
    }
}

/// One variant of an enum.
struct Variant<'s> {
    round: usize,
    name: &'static str,
    value: &'s mut Option<Shape>,
}

impl<'s> de::EnumAccess<'static> for Variant<'s> {
    type Error = Stuck;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'static>>(self, seed: V) -> Result<(V::Value, Self), Stuck> {
        let name: de::value::StrDeserializer<'_, Stuck> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'s> de::VariantAccess<'static> for Variant<'s> {
    type Error = Stuck;

    fn unit_variant(self) -> Result<(), Stuck> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'static>>(self, seed: T) -> Result<T::Value, Stuck> {
        seed.deserialize(Probe {
            round: self.round,
            shape: self.value.get_or_insert_default(),
        })
    }

    fn tuple_variant<V: Visitor<'static>>(self, _len: usize, _visitor: V) -> Result<V::Value, Stuck> {
        Err(Stuck)
    }

    fn struct_variant<V: Visitor<'static>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Stuck> {
        Probe {
            round: self.round,
            shape: self.value.get_or_insert_default(),
        }
        .deserialize_struct(self.name, fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::Shape;
    use crate::words::{GroupConfig, RATIOS, WEIGHT, WHOLES};

    fn hides_something(shape: &Shape) -> bool {
        match shape {
            Shape::Unknown => true,
            Shape::Table(keys) => keys.iter().any(|(_, shape)| hides_something(shape)),
            Shape::List(of) => hides_something(of),
            Shape::Choice(names) => names
                .iter()
                .filter_map(|(_, shape)| shape.as_ref())
                .any(hides_something),
            Shape::Whole(..) | Shape::Number | Shape::Truth => false,
        }
    }

    #[test]
    fn every_key_of_the_configuration_has_a_shape_that_the_probe_knows() {
        let shape = Shape::of::<GroupConfig>();
        assert!(!hides_something(&shape), "{shape:#?}");
    }

    #[test]
    fn a_choice_tells_which_of_its_names_carry_a_value() {
        let shape = Shape::of::<GroupConfig>();
        let most = u64::try_from(usize::MAX).unwrap();
        assert_eq!(
            shape.at(["placement"]),
            Some(&Shape::Choice(vec![
                ("local", None),
                ("arbiters", Some(Shape::Whole(0, most))),
                ("processors", None),
                ("dedicated", None),
            ]))
        );
    }

    #[test]
    fn every_number_of_the_type_has_bounds_and_no_bounds_lack_a_number() {
        let shape = Shape::of::<GroupConfig>();
        let numbers: Vec<String> = shape
            .paths()
            .into_iter()
            .filter(|path| shape.at(path.split('.')) == Some(&Shape::Number))
            .collect();
        assert_eq!(numbers, RATIOS.iter().map(|ratio| ratio.key).collect::<Vec<_>>());
        let mut wholes: Vec<String> = shape
            .paths()
            .into_iter()
            .filter(|path| matches!(shape.at(path.split('.')), Some(Shape::Whole(..))))
            .collect();
        // Every seed is as good as any other.
        wholes.retain(|path| path != "seed");
        wholes.sort();
        let mut bounded: Vec<&str> = WHOLES.iter().map(|whole| whole.key).collect();
        bounded.sort_unstable();
        assert_eq!(wholes, bounded);
        assert_eq!(
            shape.at(["weights"]),
            Some(&Shape::List(Box::new(Shape::Whole(0, WEIGHT.most))))
        );
    }
}
