"""What is said in the made-up shop whose traffic the seed is: data, no behaviour.

A line may name {order}, {item}, {city}, {amount} and {day}; whoever speaks it fills them in.
"""

from __future__ import annotations

from typing import Final

SUPPORT_RULES: Final = (
    "You are the support assistant of Fjell & Fern, a shop for outdoor gear. Be friendly and brief, and answer in the "
    "language of the customer. Look an order up before you speak about it. Never promise a refund above 50 EUR: offer "
    "to hand the conversation over to a colleague instead. Do not give medical or legal advice. If the customer asks "
    "for a person, call hand_over at once."
)
SUPPORT: Final[tuple[tuple[str, str], ...]] = (
    (
        "Where is my order {order}?",
        (
            "Your order {order} left our warehouse on {day} and is with the carrier in {city}. It should be with you "
            "within two working days. Shall I send you the tracking link again?"
        ),
    ),
    (
        "One pole of the {item} arrived bent. What now?",
        (
            "I am sorry about that. I can send you a single pole free of charge, you do not have to return anything. May I "
            "use the address of order {order}?"
        ),
    ),
    (
        "Can I still change the delivery address of {order} to {city}?",
        (
            "Yes: it has not been packed yet. I have changed the address of {order} to {city}. You will get a confirmation "
            "by mail in a moment."
        ),
    ),
    (
        "Which {item} do you recommend for a week in November?",
        (
            "For a week in November I would look at three things: **warmth** (comfort limit below −5 °C), **weight** (under "
            "1.6 kg if you carry it all day) and how it *dries*. From our range these fit:\n\n| Model | Weight | Comfort |\n"
            "|---|---|---|\n| Skarv 900 | 1,420 g | −8 °C |\n| Lom Pro | 1,180 g | −6 °C |\n\nThe Lom Pro is lighter, the "
            "Skarv forgives a wet evening."
        ),
    ),
    (
        "My refund of {amount} is still missing.",
        (
            "The refund of {amount} was sent to your card on {day}. Banks take three to five working days to show it. If it "
            "is not there by then, write again and I will ask our accounts team to trace it."
        ),
    ),
    (
        "Warum wurde mir {amount} zweimal abgebucht?",
        (
            "Das tut mir leid. Die zweite Buchung über {amount} ist eine Vormerkung, die am {day} verfällt; eingezogen wird "
            "nur einmal. Bleibt sie stehen, gebe ich den Fall an eine Kollegin weiter."
        ),
    ),
    (
        "How do I wash the {item} without ruining the coating?",
        (
            "1. Close all zips and turn it inside out.\n2. Wash at 30 °C with a liquid detergent, no softener.\n3. Tumble "
            "dry on low for 20 minutes: the warmth brings the coating back.\n\nIf water no longer beads off after that, it "
            "needs a new coat of spray."
        ),
    ),
    (
        "Do you ship to {city}, and what does it cost?",
        "We do. Delivery to {city} costs 7.90 EUR and takes three to four working days; above 120 EUR it is free.",
    ),
    (
        "Your invoice for {order} names the wrong company.",
        (
            "I have asked for a corrected invoice for {order}. Please tell me the exact name and the VAT number that should "
            "stand on it, and it will be in your inbox today."
        ),
    ),
    (
        "Merci, et comment enlever l'odeur de fumée ?",
        (
            "Aérez le {item} une nuit dehors, puis lavez-le à la main avec un savon doux. Le vinaigre blanc dilué aide "
            "aussi ; rincez bien et laissez sécher à l'ombre."
        ),
    ),
    (
        "Is the {item} back in stock in {city}?",
        "There are four left in {city}, and eleven in the online shop. I can reserve one for you until {day}.",
    ),
    (
        "I want to speak to a person, please.",
        "Of course. I have handed this conversation over; a colleague will write to you within the hour.",
    ),
)
ITEMS: Final = ("sleeping bag", "tent", "rain jacket", "rucksack", "stove", "head torch", "pair of boots", "down vest")
CITIES: Final = ("Hamburg", "Lyon", "Oslo", "Ghent", "Porto", "Graz", "Turku", "Gdańsk", "Bergen", "Leipzig")
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")

DOCUMENT_RULES: Final = (
    "Answer from the numbered passages alone and cite them as [n]. When they do not hold the answer, say so in one "
    "sentence. Write at most four sentences."
)
DOCUMENTS: Final[tuple[tuple[str, str], ...]] = (
    (
        "Who has to approve an exception to the travel policy?",
        (
            "Exceptions above 400 EUR need the approval of the head of the cost centre [2]; below that the team lead "
            "decides [1]. The approval has to be filed before the trip is booked [2]."
        ),
    ),
    (
        "How long are backups of the shop database kept, and where?",
        (
            "Nightly backups are kept for 35 days in the Frankfurt region and monthly ones for a year in Dublin [3]. Restores "
            "are rehearsed every quarter [1]."
        ),
    ),
    (
        "What changed between the two versions of the supplier contract?",
        (
            "The notice period went from 30 to 90 days [4], and liability is now capped at the yearly fee [4]. The clause on "
            "subcontractors is new [5]. Nothing else differs."
        ),
    ),
    (
        "Which of these reports contradict each other?",
        (
            "The passages [2] and [5] disagree about the return rate in September: 4.1 % and 6.3 %. [5] counts exchanges as "
            "returns, [2] does not say what it counts."
        ),
    ),
    (
        "May we store the birthday of a customer?",
        "The passages do not say whether birthdays may be stored.",
    ),
)
PASSAGES: Final = (
    "Team leads may approve exceptions of up to 400 EUR for travel within the country. They note the reason in the form.",
    "Exceptions above 400 EUR are approved by the head of the cost centre before anything is booked.",
    (
        "Nightly snapshots of the shop database are kept for 35 days in eu-central-1, monthly ones for twelve months in "
        "eu-west-1. A restore is rehearsed in each quarter, and its duration is written down."
    ),
    "Either party may end this agreement with a notice of ninety days. Liability is limited to the fees of one year.",
    "The return rate in September was 6.3 % including exchanges, the highest since the spring of last year.",
    "Returns in September amounted to 4.1 % of all parcels, most of them boots in sizes 41 to 43.",
    (
        "Customer records hold the name, the addresses and what was bought. Everything else needs a purpose and a date of "
        "deletion, approved by the data protection officer."
    ),
)

REVIEW_RULES: Final = (
    "You are a careful software engineer. Use the tools to read the code before you judge it. Name the file and the "
    "line of each finding, most important first, and propose the smallest change that mends it."
)
REVIEWS: Final[tuple[tuple[str, str], ...]] = (
    (
        "The nightly stock sync sometimes counts a parcel twice. Find out why.",
        (
            "The cause is in `stock/sync.py:88`: `apply()` is called again when the connection drops after the commit but "
            "before the acknowledgement. The second call finds no marker, because the marker is written in another "
            "transaction.\n\n```python\nwith db.transaction():\n    apply(parcel)\n    mark_applied(parcel.id)\n```\n\n"
            "With both in one transaction a repeated call finds the marker. A test that kills the connection between the "
            "two statements fails before this change and passes after it."
        ),
    ),
    (
        "Review the change that moves image resizing to the worker.",
        (
            "Three findings:\n\n1. `worker/images.py:41` decodes the whole picture before its size is checked: a 30,000 × "
            "30,000 PNG takes 3.6 GB. Check `image.size` first.\n2. `api/upload.py:17` swallows `OSError`; the user sees a "
            "success that did not happen.\n3. `tests/test_images.py` compares file sizes, which differ between versions of "
            "the codec. Compare dimensions instead."
        ),
    ),
    (
        "Why does the checkout test fail only on CI?",
        (
            "`tests/test_checkout.py` builds its date from `datetime.now()` and asks whether the parcel ships *today*. CI "
            "runs in UTC, your machine in Europe/Berlin: between 22:00 and 24:00 UTC the two days differ. Pass the clock in, "
            "as `tests/test_orders.py` does already."
        ),
    ),
)
REVIEW_TOOLS: Final = (
    ("read_file", '{"path":"stock/sync.py","lines":"60-120"}'),
    ("search", '{"pattern":"mark_applied\\\\(","glob":"**/*.py"}'),
    ("run_tests", '{"paths":["tests/test_checkout.py"],"timeout_s":120}'),
    ("git_log", '{"path":"worker/images.py","limit":5}'),
)
CODE: Final = (
    "def apply(parcel: Parcel) -> None:\n"
    '    """Book the parcel out of the stock."""\n'
    "    for line in parcel.lines:\n"
    "        shelf = shelves.find(line.sku)\n"
    "        if shelf is None:\n"
    "            raise UnknownShelf(line.sku)\n"
    "        shelf.take(line.count)\n"
    "    ledger.note(parcel.id, parcel.total)\n"
)

TRIPS: Final[tuple[tuple[str, str], ...]] = (
    (
        "Three days in the Lofoten for two people who like to walk, in September.",
        (
            "**Day 1** Svolvær to Kabelvåg along the coast, an easy 9 km.\n**Day 2** Up Reinebringen early, before the "
            "boats arrive; 448 m of steps.\n**Day 3** The beach at Kvalvika with lunch on the rocks.\n\nPack for rain and "
            "for sun: the forecast says 9 °C and showers on the second day."
        ),
    ),
    (
        "Find a train from Lyon to Porto on Friday evening and a quiet place to sleep.",
        (
            "There is no evening train that arrives the same day. The best I found leaves Lyon Part-Dieu at 17:04 and "
            "reaches Hendaye at 23:10; the first train to Porto leaves at 06:35. A small hotel five minutes from the station "
            "has a room at the back for 84 EUR."
        ),
    ),
    (
        "Is it cheaper to fly to Bergen on Monday or on Tuesday?",
        (
            "Tuesday: 118 EUR with one bag, against 164 EUR on Monday. The Monday flight has no change, the Tuesday one 55 "
            "minutes in Copenhagen."
        ),
    ),
)
TRIP_TOOLS: Final = (
    ("search_trains", '{"from":"Lyon","to":"Porto","date":"2026-11-27"}', '{"trains":[{"dep":"17:04","arr":"23:10"}]}'),
    ("get_weather", '{"place":"Lofoten","days":3}', '{"days":[{"t":11},{"t":9,"rain":true},{"t":10}]}'),
)

TRIAGE_RULES: Final = (
    "Sort the ticket. Answer with JSON alone: topic, urgency from 1 to 5, and the order if one is named."
)
TRIAGE: Final[tuple[tuple[str, str], ...]] = (
    ("Parcel {order} never arrived and I leave on {day}!!", '{"topic":"delivery","urgency":5,"order":"{order}"}'),
    ("The zip of my {item} broke after two weeks.", '{"topic":"warranty","urgency":3,"order":null}'),
    ("Please send me the invoice for {order} again.", '{"topic":"invoice","urgency":1,"order":"{order}"}'),
    ("Love the {item}, thank you.", '{"topic":"praise","urgency":1,"order":null}'),
    ("I was charged {amount} twice.", '{"topic":"payment","urgency":4,"order":null}'),
)
FIRST_NAMES: Final = (
    "noor",
    "amara",
    "jonas",
    "lena",
    "mateo",
    "ines",
    "yuki",
    "tomasz",
    "freya",
    "omar",
    "chloe",
    "sven",
    "aisha",
    "luca",
    "hanna",
    "diego",
    "mira",
    "oskar",
    "zoe",
    "ravi",
    "elif",
    "nils",
    "sofia",
    "kofi",
    "anna",
    "pavel",
    "maja",
    "theo",
    "lucia",
    "emil",
    "sara",
    "jan",
    "ida",
    "leo",
    "nadia",
    "max",
    "eva",
    "finn",
    "rosa",
    "ali",
)
LAST_NAMES: Final = (
    "haddad",
    "okafor",
    "berg",
    "klein",
    "rossi",
    "silva",
    "tanaka",
    "nowak",
    "larsen",
    "aziz",
    "dubois",
    "holm",
    "khan",
    "conti",
    "vogel",
    "ramos",
    "petrov",
    "lind",
    "moreau",
    "patel",
    "yilmaz",
    "sand",
    "costa",
    "mensah",
    "weber",
    "novak",
    "hansen",
    "roux",
    "marin",
    "koch",
    "ozturk",
    "bakker",
    "maier",
    "serra",
    "wolf",
    "diaz",
    "fischer",
    "aalto",
    "lang",
    "reyes",
)
