"""Where each rule, step and parameter of the criteria comes from, by the ids that decisions name."""

from worker.insignia.criteria.model import Criteria
from worker.insignia.rules.ruleset import RuleSource


def collect_sources(criteria: Criteria) -> dict[str, RuleSource]:
    """Return the sources of everything that a decision can rest on."""
    found = {rule.id: RuleSource(rule.rule, rule.confidence, rule.source) for rule in criteria.general_rules}
    params = criteria.params
    for name, figure in params.figures.items():
        found[f"params.{name}"] = RuleSource(figure.meaning or "", figure.confidence, figure.source)
    for name, counting in (
        ("salary_comparison", params.salary_comparison),
        ("full_years_rule", params.full_years_rule),
        ("salary_5y_date", params.salary_5y_date),
    ):
        found[f"params.{name}"] = RuleSource(counting.value, counting.confidence, counting.source)
    policy = criteria.policies.sequence
    found["policies.sequence"] = RuleSource(policy.note or "", policy.confidence, policy.source)
    for step in (step for group in criteria.groups for level in group.levels for step in level.steps):
        found[step.id] = RuleSource(step.note or "", step.confidence, step.source)
    for rule in criteria.medal_rules:
        found[rule.id] = RuleSource(rule.note or "", rule.confidence, rule.source)
    return found
