"""The descriptors of `grpc_inference.proto` and `grpc_health.proto`: generated, not written.

From `src/renewal/serve`, with the package grpcio-tools, which nobody needs at run time::

    python -m grpc_tools.protoc -I. --descriptor_set_out=set.bin grpc_inference.proto grpc_health.proto
    python -c "import base64, zlib; print(base64.b64encode(zlib.compress(open('set.bin','rb').read(), 9)).decode())"

Bytes and not protoc's Python: that would register the package ``inference`` in the pool of the
process, where tritonclient or kserve may have registered theirs.
"""  # noqa: E501  # commands to be copied

from __future__ import annotations

DESCRIPTORS = (
    "eNrVWs1zG1kRz+jDllsflp8dx6u18zEh2bBZtIkSkv0oanFsx9HGlr3jj+xCgWosPdtTkTTamVE25sSFC1fOFFRx47BV"
    "nCjgAFXcqKLgxpE/gSq4caLfxzzNjEaSnXVqi5u6X/fv9evX3a/fG8G/nsDckdNt1K3OIXVop0HLXcf2bDKlGPoszOxQ"
    "5wV1NqwX1KCf96jr6beABJlu1+64lBBItZBe0K5qtzIG/63P+ZIGNZsnvv5tmA1xJcAcpB3GkAiC0JdhZtNu0lYQgc3V"
    "MdtirimD/yYLMImQrmV3FhKc7ZP620CCECOnuwQXhW2b1DObpmf6Rh/CfHSgv/DTG0MuA9CXHu0wwl1IXk3iYICjr8Ic"
    "NzYy/xmX/LcEXIzAjLC2BBmp6CIQs0jRbKzbMr1D22mjtUxH0WQdJqxOt+e5CynUylbeLfdDKXb28i4u0+67UKqTKkza"
    "PY8jpV8Nydcv7UMhPDRsxWzMO+lS6TpFs8Bwj00cYJuTNASh/0ODQpXZtG06iOBRh1wBOLDtVr3LOCKMnlwwphiPC5Fr"
    "kLU63oP7UoJNlEQJ4Ewhch1yrudYnSMpw12MMlnBVUJNu3fQolIohUIaExJcJdQLzpZGoRQT6vWne0Sg2PXtrzeObQtz"
    "/M8JmOUrE35bsTsYjLgp1yHPl9eQDFxhEhMlx5hK6BrkEL4vw8InbbBlK5EbUBB2KSHh2DznBqfrhaBYTOUNvigl9BZM"
    "9yJgLGBSRqE3gHbYvVfpi02gWMLIMWZYKIg1iUIaEwogofkHJx51+1IZlMoZec71xfSfZ2Sh4q70s3YJoM2Y9UAETnFO"
    "jYUhGiCGw2mc48x9WTEKkLCaMvfwF9kAUHvoZ9470XwJWlFWIeuudTznxAjokzWVwyLzvjUSiRNVJi+CRWXwJ/0MnuA4"
    "D8fjSII2t7imRPRxyDtAHPOLOp8gvEU5o4gj3Azf/6W/JqAYte58Up/8IMbh3zmTm0buwAeQCQSzhuCXA+AxmWko+dKn"
    "MB2BJkVIPqcncsnsJ3kX0i/MVk8sN1t5I4quEAwh90HiPa30Hw1Kw3cp1rNHIT8luJ/WXzEMRnnsNa76tSHr/0zLLkSu"
    "WR7Hr6NAbMbE67C0lqfpqPgcfziHsTgVn9JlmGUpLchwbc4ZMzgk1FRS/z0BMwNw55TV9RgvfXTGlf0f5vXri/CfaLDA"
    "nbbjYS/dDsc5BjJ1HNupt6nrmkf+5uU4c1PwyCrrFFCr7kg1Of/SyG1hjUSA1B/JREO3HlpHr9Y/r8FsCEOuogwTDc7h"
    "MNnKfNQwKS+l1M1D5gEVkafiUQs2mH/QAOTiML5i7b0DUyyo6yrKC5XZgAWrOLaLQyL02S+G0rTaIryTBv9NHsKkIyyR"
    "YTng3pC5hi/Ncszueuges4U9ELs0KVr/pQZZrivS45zNT56D+frPNLkbsm5u2y2rcYJBl3G7tGEdWg1eQ7OVm1HAkEJ5"
    "R0pjb600Szch4/ND1ymxxYp+NA35Lofxu+/faepccD0Tp1x37F431n8YNw271/G479KGIMgDSD23Ok1+KShU9MFUCcCW"
    "n6KkweXxYp1iFMnD1NNqbbW+vLe7VbxAcpDh5Pr2XlFT1ApSCTxogFObW6trG8Wk/mvsufgkn/Roj0p/bkPBs9oUa3zd"
    "bLDo4GsoVL4ZtSygVN4VGstcwch7QZJ8Fxab9NDstby6j9y2Go7tUkyzpsvdkTJKUkZCbQYkyH2YN1st+wulb+OGOFaT"
    "8h3PGHN8VGpuyTHyDSi0zZf1z5mdddf6EeU+xisJcrnxO8jTb0I+ZD0BmDDWPl5b2UVvTkEaXbX8WRHLY0Le7FdPcDet"
    "xiPTaxzjFQ/TYq7rUHSNQ5v1A8YVk2n8KkXUGFdgU5KPYLFvGCKaJ3EOecM3c5VJhPxxG2YQ1mXvGXXbaVJ21ZSuKPoD"
    "W5KP7cSc734xowhgPLVZsrw5YlsNIhUDPP0eFLhc/x59Td2BxaEjYl7egPcZS/9pWpYXUWCHtQDqpSIReanAk0WmoG99"
    "Mr52hFLdyL8IlQoZEIE9SvFMZAHR353bkOZ3FtktXRzMSBw0hAw7UUQ3JK9NAyeKqKeGlBJHpMjo+hFLaX4hij0iA3nP"
    "jshgdcF88LdUtJeHVotyh2a44/wN50iP5Rj5GIpNEbvCBSxostyNV6KzR2LcmG5Ggv5xqPsq8DXcjD9NRzZZeIQfmI3n"
    "FAvgjDjCJfmVG51wkAYbnccwL/sc07Ncz2q4r9ZkvA8zCmK155i8eqgir/EklkUeW/yOn9f4S/93EqZ5E9S3AQ+CSbfX"
    "aGAvJbuTxcBqBiYyfGGsP6lD02pJF4xW4pKkAmleCWQSjVYRomQZ8g27jSFMxY2ep8443ZxUES1RCAKV5Pl/WgiUIStQ"
    "8CFU2o3H8KeVvc37MNUwG8e0fmx5mH7j9TNc/InlkQ8BhGrbcl2ebON0xVSbKK7/GE8QvgxRa/o7j5fI0LnBomTqQBWk"
    "Adcnvrrrk+fg+tSZXa//MQHTkdw74/v7DSi0TNfrf/TgS0kZecat+kz20Kgk6iIhU1yuoNgrPDNRkL6kjR6zVgqmhaBi"
    "C8GVICIWY37vZQ4oRW9XgbrSn40xXWyFsnKnOYCo/VeiAJH4MER0cAR9Hy4NFC95u/kQsuI0EOAaBy9FS2IQt+0zXP33"
    "/u3PoF3btTzbOfkaXsoRRzzW9h/KcwyHM4c/gT+D+b7Z1U6TvvQrOm6vo0aCjzSFPrsmm3PxOSkR/Jz0Fw0uDSBLd6/B"
    "BPef7+ngE80QHf9oZyypXDpW10bknjEZ2E0Ud4/KxyNBkHmYQOtdFE9xtqT0XySg1DeMT7phm80zuyr85pWIvnnthVqD"
    "JPfNt2N9EzVh5KPhwWn6gffD/cD1aPDHBHewM/gU3oy17nSPfdjAWi5ToE0ZRYrWf5WAxQj0Xqf1Grz/LMb7D4d7P2TE"
    "1+7/H8LSEPtOtwOXASxXqKg9CHDe/q8GGf+ZAq3P7X62vVav1vaXN6qreNvDqzTnPNra2sDLM16XOblXre2+h9fnacgq"
    "+u6DYjLEuFcppkKMB/eLaYXIESYUogCYDNKonwnSqD6l1B9vozgESJTOBkgUzqnJd3aNam29mO8v5zFqFyq/zcDcurG9"
    "og5J9j0cqyd5CtD/PwAJnefR/w6UloaMyre7C6QG2cCfA8igfPCPAKXLw4YV3lNZHgXc4mBABdCWhowqsGdQCP8JgFwd"
    "MCDy4b50bYSEAt6FfOgzN7ky/AO4gL067gt5YO2iAVsc9SmmNPqNFcG+L996Aq+7YyCvD7YOAw/D+oVb2h2N7Xrwer80"
    "5F01ZtdjnmnR2O8NtonXRjQyElcfJRLEjhzPIez4RiKEPeR0R+xDmI05QMiNUx1/pZvjxNQ8LbgYWyjJW6cs9aVb4wX9"
    "2Q4m+P+K7sGfkjDD/3F0TM2Wdyz/blRgrLJkvbirl4E84cTKMW089883bGJcUW9k2fZJ/TcazIYUZK2vwgTrZ3qufIC8"
    "Ww5PVI5R4hmK3eQOVzQkgL4F+dAAycLkXu1pbetZDcs+Ejtrxj4rmhqrorWt3brPSJBZmObECpZ1qZKsfKnBhJiebEOa"
    "m0D0kfb5KTV+DcSA9DPW8J8b4h3N38L/AUNPJfE="
)
"""A ``FileDescriptorSet``, compressed and in base64."""
