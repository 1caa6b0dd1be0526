/*
 * Read before all else by build/check-compilers: makes the headers of OpenSSL 3 refuse what
 * those of OpenSSL 4.0 refuse. -DOPENSSL_NO_DEPRECATED takes away what 3 has deprecated; 4.0
 * also deprecates some functions, returns const from others, and hides the members of
 * ASN1_STRING.
 */
#include <openssl/types.h>

#if OPENSSL_VERSION_MAJOR == 3
/* Its definition gets another name, so the type stays incomplete. */
#define asn1_string_st visible_asn1_string_st
#include <openssl/asn1.h>
#undef asn1_string_st

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#define X509_get_subject_name(certificate)                                                     \
    ((const X509_NAME *)X509_get_subject_name(certificate))
#define X509_get_issuer_name(certificate) ((const X509_NAME *)X509_get_issuer_name(certificate))
#define X509_get_ext(certificate, position)                                                    \
    ((const X509_EXTENSION *)X509_get_ext(certificate, position))
/* Of 4.0 these two also take const; the cast is for 3. */
#define X509_EXTENSION_get_object(extension)                                                   \
    ((const ASN1_OBJECT *)X509_EXTENSION_get_object((X509_EXTENSION *)(extension)))
#define X509_EXTENSION_get_data(extension)                                                     \
    ((const ASN1_OCTET_STRING *)X509_EXTENSION_get_data((X509_EXTENSION *)(extension)))

#pragma GCC poison X509_cmp_time X509_cmp_current_time X509_cmp_timeframe
#pragma GCC poison X509_NAME_get_text_by_NID X509_NAME_get_text_by_OBJ
#pragma GCC poison X509_STORE_get0_objects ASN1_OBJECT_new
#pragma GCC poison SSL_set1_host SSL_add1_host SSL_client_hello_isv2
#endif
