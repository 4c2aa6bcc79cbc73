"""Prices for LLM requests: disjoint usage buckets, dated price data, exact sums, bounds for reserving.

It knows nothing of the proxy and can be used alone. Importing it is cheap: the price data are loaded by the first
`PriceBook`. Token counting lives in `pricing.tokens` and is imported on its own, so that who only prices never loads it.
"""

from pricing.book import PriceBook
from pricing.cost import Cost, CostSource, combined
from pricing.limits import ModelLimits, limits_of
from pricing.override import Override
from pricing.rates import Rates
from pricing.usage import Count, Totals, Usage

__all__ = [
    "Cost",
    "CostSource",
    "Count",
    "ModelLimits",
    "Override",
    "PriceBook",
    "Rates",
    "Totals",
    "Usage",
    "combined",
    "limits_of",
]
