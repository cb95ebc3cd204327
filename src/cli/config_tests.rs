use super::*;

fn read(text: &str) -> Result<Config> {
    parse(text, Path::new("config.toml"))
}

/// The printed text with every key in force that it only names.
fn all_set() -> String {
    let key = |l: &&str| l.starts_with('#') && !l.starts_with("# ") && l.contains(" = ");
    DEFAULT.lines().map(|l| if key(&l) { &l[1..] } else { l }).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_printed_is_the_default() {
    assert_eq!(read(DEFAULT).unwrap(), Config::default());
}

#[test]
fn every_key_that_is_printed_is_real_and_every_real_key_is_printed() {
    let config = read(&all_set()).unwrap();
    assert_ne!(config, Config::default());
    // The keys of the structs, as their own refusal names them.
    for section in ["", "input", "fit", "plan", "control", "screen", "notify"] {
        let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        let Err(Error::Input { expected, .. }) = read(&format!("{head}no_such_key = 1")) else {
            panic!("[{section}] takes any key")
        };
        let keys: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
        assert!(keys.len() >= 2, "{expected}");
        let all = all_set();
        let table: toml::Table = all.parse().unwrap();
        let printed = if section.is_empty() { &table } else { table[section].as_table().unwrap() };
        for key in keys {
            assert!(printed.contains_key(key), "[{section}] {key} is not printed");
        }
    }
    for (_, role) in ROLES {
        assert!(DEFAULT.contains(&format!(" {role}")), "the role {role} is not named");
    }
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_known_ones() {
    let said = read("[screen]\nascii = true\ncolour = \"rgb\"\n").unwrap_err().to_string();
    assert!(said.starts_with("config.toml:3: found unknown field `colour`, expected "), "{said}");
    assert!(said.contains("`colors`") && said.contains("--print-default"), "{said}");
    let said = read("[fields]\nstep = \"a\"\nlooss = \"b\"").unwrap_err().to_string();
    assert!(said.starts_with("config.toml:3: found unknown field `looss`"), "{said}");
    assert!(said.contains("`val_loss`"), "{said}");
}

#[test]
fn values_are_checked_as_those_of_the_flags() {
    let plan = read("[plan]\nunit = \"64K\"\nmax_batch = 4194304\ntarget_loss = 2").unwrap().plan;
    assert_eq!(plan.unit, Some(Whole(64_000)));
    assert_eq!(plan.max_batch, Some(Whole(4_194_304)));
    for (line, wrong) in [
        ("[plan]\ngoal = \"best\"", 2),
        ("[plan]\n\nunit = 0.5", 3),
        ("[input]\nseq_len = \"lots\"", 2),
        ("[control]\nlead_seconds = -1", 2),
        ("[screen]\nmouse = 1", 2),
        ("[screen", 1),
    ] {
        let said = read(line).unwrap_err().to_string();
        assert!(said.starts_with(&format!("config.toml:{wrong}: ")), "{line}: {said}");
    }
}

#[test]
fn flags_stand_above_the_file() {
    let file = read(
        "[fields]\nloss = \"a\"\nlr = \"b\"\n[input]\nseq_len = 8\n[fit]\nseed = 7\n\
         exclude = [\"x\"]\n[screen]\ntheme = \"light\"\nmouse = false\n[control]\nread_only = true",
    )
    .unwrap();
    let mut input = Input { fields: vec![("loss".into(), "mine".into())], ..Input::default() };
    input.under(&file);
    assert_eq!(input.fields, [("loss".to_string(), "mine".to_string())]);
    assert_eq!(input.usual_fields, [("lr".to_string(), "b".to_string())]);
    assert_eq!(input.seq_len, Some(8.0));
    let mut fitting = Fitting { seed: Some(2), ..Fitting::default() };
    fitting.under(&file);
    assert_eq!((fitting.seed, fitting.exclude.as_slice()), (Some(2), ["x".to_string()].as_slice()));
    let mut screen = Screen { theme: Some(ThemeArg::Dark), ..Screen::default() };
    screen.under(&file);
    assert_eq!(screen.theme, Some(ThemeArg::Dark));
    assert!(screen.no_mouse);
    let mut control = ControlArgs::default();
    control.under(&file);
    assert!(control.read_only);
}

#[test]
fn it_lies_in_the_xdg_place() {
    let with = |vars: &[(&str, &str)]| {
        place(|n| vars.iter().find(|v| v.0 == n).map(|v| v.1.into()))
            .map(|p| p.display().to_string())
    };
    let found = with(&[("XDG_CONFIG_HOME", "/x"), ("HOME", "/h")]);
    assert_eq!(found.as_deref(), Some("/x/boptop/config.toml"));
    // The specification: what is not absolute is ignored.
    let found = with(&[("XDG_CONFIG_HOME", "x"), ("HOME", "/h")]);
    assert_eq!(found.as_deref(), Some("/h/.config/boptop/config.toml"));
    assert_eq!(with(&[]), None);
}
