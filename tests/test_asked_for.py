import pytest

from eval.slices.asked_for import OTHER, asked_for


@pytest.mark.parametrize(
    ("question", "wanted"),
    [
        ("바이마르 정부가 화폐를 수없이 찍어낸 이유는?", "why"),
        ("사람들은 왜 말에서 내렸는가?", "why"),
        ("어떤 이유로 전화를 설치하지 못했나?", "why"),
        ("윤치호의 사망원인은?", "why"),
        ("임진왜란 때 왜군을 막은 사람은?", "who"),  # 왜 is no interrogative here
        ("그는 어느 당 회원인가?", "what"),  # nor is 원인 a cause
        ("김준연은 김옥성과 몇 년간 함께 살았나요?", "how many"),
        ("갱구국수의 지름은 얼마인가요?", "how many"),
        ("민족의 수는?", "how many"),
        ("최종 관객 수는?", "how many"),
        ("득표 비율은?", "how many"),
        ("가장 어린 참가자는 나이가 어떻게 되나요?", "how many"),
        ("완공된 것은 몇 년도인가?", "when"),
        ("오티라 터널이 완공된 해는?", "when"),
        ("당산제를 시행하던 날은 언제였는가?", "when"),
        ("충주 유적을 언제 알게 되었는가?", "when"),
        ("처음으로 금메달을 딴 선수는?", "who"),  # 선수, not a number
        ("조르댕의 딸은 누구를 좋아하는가?", "who"),
        ("공을 세운 이는?", "who"),
        ("도움을 청한 사람은?-", "who"),
        ("후보자는?", "who"),
        ("뒤러는 어디에 코뿔소를 그렸는가?", "where"),
        ("영국 군대가 후퇴한 곳은?", "where"),
        ("어느 나라 공주인가?", "where"),
        ("데이비드는 어떻게 정체를 숨겼나?", "how"),
        ("구조를 어떤 방식으로 바꾸었나요?", "how"),
        ("1표로 간주하기 위한 의견 수렴 방식은?", "how"),
        ("진행 천궁도의 가치는 무엇인가?", "what"),
        ("첫 앨범에서 가장 성공한 곡은?", "what"),
        ("곡면구조의 액정은 물에 약한가요?", OTHER),
        ("한빛 3호 발사", OTHER),
    ],
)
def test_interrogatives_and_last_nouns_tell_what_is_asked_for(question: str, wanted: str) -> None:
    assert asked_for(question) == wanted
