//! The node table against a model: random operations on both.

use std::collections::HashMap;

use ringfuse::high::tree::{Counts, Hold, NodeError, Nodes, Remember, Target, ROOT_ID};

use super::{exchange, lookup, path, rename, steps, text, unlink};

/// The table as simply as it can be said.
#[derive(Default)]
struct Model {
    nodes: HashMap<u64, Simple>,
}

struct Simple {
    place: Option<(u64, String)>,
    above: u64,
    lookups: u64,
    opens: u64,
}

impl Model {
    fn at(&self, parent: u64, name: &str) -> Option<u64> {
        let here = |place: &(u64, String)| place.0 == parent && place.1 == name;
        self.nodes.iter().find(|(_, n)| n.place.as_ref().is_some_and(here)).map(|(&id, _)| id)
    }

    fn path(&self, mut id: u64) -> Result<String, NodeError> {
        let mut path = String::new();
        while id != ROOT_ID {
            let (parent, name) = self.nodes[&id].place.as_ref().ok_or(NodeError::NoName)?;
            path = format!("/{name}{path}");
            id = *parent;
        }
        Ok(if path.is_empty() { "/".into() } else { path })
    }

    fn is_above(&self, above: u64, mut id: u64) -> bool {
        while id != ROOT_ID {
            if id == above {
                return true;
            }
            id = self.nodes[&id].above;
        }
        false
    }

    fn put(&mut self, id: u64, place: Option<(u64, String)>) {
        let node = self.nodes.get_mut(&id).unwrap();
        if let Some((parent, _)) = &place {
            node.above = *parent;
        }
        node.place = place;
    }

    fn collect(&mut self) {
        loop {
            let has_child = |id: u64| self.nodes.values().any(|node| node.above == id);
            let dead = |(&id, n): (&u64, &Simple)| {
                (n.lookups == 0 && n.opens == 0 && !has_child(id)).then_some(id)
            };
            let Some(id) = self.nodes.iter().find_map(dead) else { return };
            self.nodes.remove(&id);
        }
    }
}

#[test]
fn the_table_does_what_a_simple_model_does() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (nodes, mut model) = (Nodes::new(Remember::No), Model::default());
        let long = "long".repeat(12);
        let names = ["a", "b", "c", "ccccccccc", &long];
        for _ in 0..steps(2000) {
            let mut known: Vec<u64> = model.nodes.keys().copied().collect();
            known.push(ROOT_ID);
            known.sort_unstable();
            let mut id = || known[random.usize(..known.len())];
            let (dir, dir2) = (id(), id());
            let (name, name2) = (names[random.usize(..5)], names[random.usize(..5)]);
            let ways = model.path(dir).and(model.path(dir2));
            match random.u32(0..12) {
                0..=3 if known.len() < 40 => {
                    let id = lookup(&nodes, dir, name);
                    match model.at(dir, name) {
                        Some(same) => assert_eq!(id, same),
                        None => {
                            let place = Some((dir, name.to_owned()));
                            let new = Simple { place, above: dir, lookups: 0, opens: 0 };
                            assert!(model.nodes.insert(id, new).is_none());
                        }
                    }
                    model.nodes.get_mut(&id).unwrap().lookups += 1;
                }
                4 | 5 if dir != ROOT_ID => {
                    let node = model.nodes.get_mut(&dir).unwrap();
                    let count = random.u64(0..=node.lookups);
                    node.lookups -= count;
                    nodes.forget(dir, count);
                }
                6 if dir != ROOT_ID => {
                    model.nodes.get_mut(&dir).unwrap().opens += 1;
                    nodes.open(dir).unwrap();
                }
                7 if dir != ROOT_ID => {
                    let opens = &mut model.nodes.get_mut(&dir).unwrap().opens;
                    *opens = opens.saturating_sub(1);
                    nodes.release(dir).unwrap();
                }
                8 => {
                    let way = model.path(dir);
                    let result = unlink(&nodes, dir, name);
                    if let Some(id) = model.at(dir, name) {
                        if way.is_ok() {
                            model.put(id, None);
                        }
                    }
                    assert_eq!(result, way.map(drop));
                }
                9 | 10 => {
                    let (from, to) = (model.at(dir, name), model.at(dir2, name2));
                    let same = from.is_some() && from == to;
                    let moves = from.is_some_and(|from| model.is_above(from, dir2));
                    let covers = to.is_some_and(|to| model.is_above(to, dir));
                    let swap = random.bool();
                    let way = if swap { exchange } else { rename };
                    let result = way(&nodes, (dir, name), (dir2, name2));
                    if ways.is_err() || moves || covers {
                        assert!(result.is_err());
                    } else {
                        result.unwrap();
                        if let (Some(to), false) = (to, same || (dir, name) == (dir2, name2)) {
                            model.put(to, swap.then(|| (dir, name.to_owned())));
                        }
                        if let Some(from) = from {
                            model.put(from, Some((dir2, name2.to_owned())));
                        }
                    }
                }
                _ => {
                    let way = nodes.lock(Target { node: dir, name: None, hold: Hold::Exclusive });
                    assert_eq!(way.map(|path| text(&path)), model.path(dir));
                }
            }
            model.collect();
            let counts = Counts {
                nodes: model.nodes.len() as u64,
                named: model.nodes.values().filter(|node| node.place.is_some()).count() as u64,
                lookups: model.nodes.values().map(|node| node.lookups).sum(),
                opens: model.nodes.values().map(|node| node.opens).sum(),
            };
            assert_eq!(nodes.counts(), counts);
            for &id in model.nodes.keys() {
                assert_eq!(path(&nodes, id), model.path(id));
            }
        }
        for (id, node) in model.nodes {
            nodes.forget(id, node.lookups);
            (0..node.opens).for_each(|_| assert_eq!(nodes.release(id), Ok(false)));
        }
        assert_eq!(nodes.counts(), Counts::default());
    }
}
