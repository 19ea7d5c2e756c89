/* Valid UTF-8 stays, anything else becomes question marks, byte by byte. */
#include <stdlib.h>

#include "base/utf8.h"
#include "testing.h"

static void copies(void **state)
{
    (void)state;
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"a\xff", "a?"},
        {"\xc3", "?"}, /* cut short */
        {"\xe2\x82", "??"},
        {"\xf0\x9f\x98"
         "b",
         "???b"},
        {"\xc0\x80", "??"}, /* overlong */
        {"\xe0\x80\x80", "???"},
        {"\xf0\x80\x80\x80", "????"},
        {"\xed\xa0\x80", "???"},                  /* surrogate */
        {"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"}, /* U+10FFFF */
        {"\xf4\x90\x80\x80", "????"},
        {"\x80x\xbf", "?x?"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *const got = qb_utf8_copy(cases[i].text);
        assert_non_null(got);
        assert_string_equal(got, cases[i].want);
        free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(copies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
